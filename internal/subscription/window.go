package subscription

import "time"

const (
	// aheadWindow is how much work, in time, may be read ahead of the handlers: enough to hide a
	// round trip, little enough that an idle consumer elsewhere does better with the rest.
	aheadWindow = 50 * time.Millisecond
	// maxAhead bounds the read-ahead in entries, maxAheadBytes in bytes, maxRead one read: a reply
	// can't be bounded in bytes before it is there.
	maxAhead      = 1000
	maxAheadBytes = 16 << 20
	maxRead       = 128
)

// window decides how many entries to hold, from how long handlers take and how large entries
// are. It is guarded by the inbox.
type window struct {
	lanes   int
	service float64 // moving average of the time that a lane spends on an entry, in ns
	grown   int     // completions since the speed was last unknown: the read-ahead doubles with them
	size    int     // estimate of an entry's bytes: the largest seen lately
	seen    int     // entries read: sizes are trusted as experience grows
}

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

// read notes the sizes of a batch that was read.
func (w *window) read(entries, largest int) {
	w.seen += entries
	w.size = max(largest, w.size-w.size/8, 1)
}

// ahead is how many entries may wait for a lane: nothing while handlers take longer than the
// window or their speed is unknown.
func (w *window) ahead() int {
	if w.grown == 0 {
		return 0
	}
	inWindow := float64(w.lanes) * float64(aheadWindow) / max(w.service, 1)
	return int(min(inWindow, float64(w.grown), maxAhead))
}

// next is how many entries to read when want may be held beyond the bytes already held.
func (w *window) next(want, bytes int) int {
	n := min(want, maxRead, 2*w.seen+1)
	if w.size > 0 {
		n = min(n, max(1, (maxAheadBytes-bytes)/w.size))
	}
	return n
}
