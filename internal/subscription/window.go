package subscription

import "time"

const (
	// aheadWindow is how much work, in time, may be read ahead of the handlers: enough to hide a
	// round trip, little enough that an idle consumer elsewhere does better with the rest.
	aheadWindow = 50 * time.Millisecond
	// maxAhead bounds the read-ahead in entries, maxRead one read.
	maxAhead = 1000
	maxRead  = 128
	// maxHeldBytes bounds the fields of the entries that are held. A subscription takes up to three times as much memory: the
	// messages are copies, and what is settled waits for the garbage collector.
	maxHeldBytes = 8 << 20
	// minBudget is what a read may bring after one that brought less without trouble.
	minBudget = 64 << 10
	// slowRead is how long the bytes of a reply may take. Slower ones make the next reply smaller, so that leases do not run
	// out on the way, and replies do not run into the client's ReadTimeout.
	slowRead = 250 * time.Millisecond
)

// room is how much to read: at most so many entries, and about so many bytes. One entry is always allowed, however large.
type room struct{ entries, bytes int }

// window decides how many entries to hold, from how long handlers take, how large entries are and how reads go. It is guarded
// by the inbox.
type window struct {
	lanes   int
	service float64 // moving average of the time that a lane spends on an entry, in ns
	grown   int     // completions since the speed was last unknown: the read-ahead doubles with them
	size    int     // estimate of an entry's bytes: the largest seen lately
	seen    int     // entries read: sizes are trusted as experience grows
	budget  int     // bytes that a reply may have now
}

func newWindow(lanes int) window { return window{lanes: lanes, budget: maxHeldBytes} }

// finished notes that a lane spent d on an entry.
func (w *window) finished(d time.Duration) {
	if w.service == 0 {
		w.service = float64(d)
	} else {
		w.service += (float64(d) - w.service) / 8
	}
	if w.service >= float64(aheadWindow) {
		w.grown = 0
		return
	}
	w.grown = min(w.grown+1, maxAhead)
}

// read notes a reply: how many entries it had, the size of the largest, and how long the bytes of all were under way.
func (w *window) read(entries, largest, bytes int, took time.Duration) {
	w.seen += entries
	w.size = max(largest, w.size-w.size/8, 1)
	if took > slowRead {
		w.budget = min(w.budget, max(1, int(float64(bytes)*float64(slowRead)/float64(took))))
		return
	}
	w.budget = min(max(2*w.budget, 2*bytes, minBudget), maxHeldBytes)
}

// failed notes a read whose reply did not come whole: the next one asks for one entry.
func (w *window) failed() { w.budget = 1 }

// ahead is how many entries may wait for a lane: nothing while handlers take longer than the
// window or their speed is unknown.
func (w *window) ahead() int {
	if w.grown == 0 {
		return 0
	}
	inWindow := float64(w.lanes) * float64(aheadWindow) / max(w.service, 1)
	return int(min(inWindow, float64(w.grown), maxAhead))
}

// next is how much to read when want entries may be held beyond the bytes already held.
func (w *window) next(want, bytes int) room {
	budget := max(1, min(w.budget, maxHeldBytes-bytes))
	n := min(want, maxRead, 2*w.seen+1)
	if w.size > 0 {
		n = min(n, max(1, budget/w.size))
	}
	return room{entries: n, bytes: budget}
}
