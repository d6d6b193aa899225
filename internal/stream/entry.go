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
	// Deliveries is the number of this delivery to a handler, in whatever process; 1 without a group.
	Deliveries int64
	// Counted is how many deliveries the server has counted; if the entry was claimed, without this one.
	Counted int64
	// Claimed: it was pending before. Otherwise it is new.
	Claimed bool
	// Idle is how long ago its lease began when it was claimed.
	Idle time.Duration
}

// FatalDeliveries is the delivery count of an entry that another client nacked for good. XNACK FATAL
// sets the largest count that there is; the claim script returns this one instead, which Lua's
// numbers can hold. No entry reaches it by being delivered.
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
// server that speaks the protocol.
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
