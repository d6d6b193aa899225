package stream

import (
	"math"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Entry is one entry of a stream as the server handed it out.
type Entry struct {
	ID     string
	Fields map[string]any // values are strings, as go-redis reads them
	// Deliveries is which delivery to a handler this is to be, in whatever process; 1 without a group.
	Deliveries int64
	// Counted is how many deliveries the server has counted: without this one if the entry was claimed.
	Counted int64
}

// Size is the number of bytes that the entry's fields take.
func (e Entry) Size() int {
	n := len(e.ID)
	for name, value := range e.Fields {
		n += len(name)
		if s, ok := value.(string); ok {
			n += len(s)
		}
	}
	return n
}

func fresh(streams []redis.XStream) []Entry {
	if len(streams) == 0 {
		return nil
	}
	entries := make([]Entry, len(streams[0].Messages))
	for i, m := range streams[0].Messages {
		entries[i] = Entry{ID: m.ID, Fields: m.Values, Deliveries: 1, Counted: 1}
	}
	return entries
}

// After returns the smallest ID that follows id. XPENDING takes "(" for that, but not on every
// server that speaks the protocol.
func After(id string) string {
	ms, seq, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return id
	}
	if n < math.MaxUint64 {
		return ms + "-" + strconv.FormatUint(n+1, 10)
	}
	t, err := strconv.ParseUint(ms, 10, 64)
	if err != nil || t == math.MaxUint64 {
		return id
	}
	return strconv.FormatUint(t+1, 10) + "-0"
}
