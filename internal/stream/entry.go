package stream

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Entry is one entry of a stream, as the server delivered it.
type Entry struct {
	ID     string
	Fields Fields
	// Deliveries is the number of this delivery, counted over all processes; 1 without a group.
	Deliveries int64
	// Counted is the server's delivery count. It is below Deliveries if this delivery must still be
	// counted.
	Counted int64
	// Claimed: it was pending before. Otherwise it is new.
	Claimed bool
	// Idle is how long ago its lease began when it was claimed.
	Idle time.Duration
}

// FatalDeliveries is the delivery count of an entry that another client gave up (XNACK FATAL). The
// server has the largest 64-bit number; the claim script returns this one instead, because Lua's
// numbers can hold it. No entry reaches it by deliveries.
const FatalDeliveries = 1<<53 - 1

// Size is the number of bytes that the entry's ID and fields take in a reply.
func (e *Entry) Size() int { return len(e.ID) + len(e.Fields.raw) }

// DropFields frees the memory of the fields.
func (e *Entry) DropFields() { e.Fields = Fields{} }

// Before returns the largest ID that precedes id.
func Before(id string) string {
	t, n := parseID(id)
	switch {
	case n > 0:
		n--
	case t > 0:
		t, n = t-1, math.MaxUint64
	}
	return strconv.FormatUint(t, 10) + "-" + strconv.FormatUint(n, 10)
}

// Precedes reports whether the ID a comes before b.
func Precedes(a, b string) bool {
	at, an := parseID(a)
	bt, bn := parseID(b)
	return at < bt || at == bt && an < bn
}

func parseID(id string) (t, n uint64) {
	ms, seq, _ := strings.Cut(id, "-")
	t, _ = strconv.ParseUint(ms, 10, 64) // IDs come from the server
	n, _ = strconv.ParseUint(seq, 10, 64)
	return t, n
}

// After returns the smallest ID that follows id. XPENDING accepts "(" for that, but not on every
// compatible server.
func After(id string) string {
	t, n := parseID(id)
	switch {
	case n < math.MaxUint64:
		n++
	case t < math.MaxUint64:
		t, n = t+1, 0
	}
	return strconv.FormatUint(t, 10) + "-" + strconv.FormatUint(n, 10)
}
