package subscription

import "time"

const (
	// aheadWindow is how much work, in time, is read ahead of the handlers. It hides a round trip.
	// More would keep entries from idle consumers.
	aheadWindow = 50 * time.Millisecond
	// maxAhead bounds the read-ahead in entries, maxRead one read.
	maxAhead = 1000
	maxRead  = 128
	// maxHeldBytes bounds the fields of the entries that are held. A subscription takes up to three
	// times as much memory: messages are copies, and settled ones wait for the garbage collector.
	maxHeldBytes = 8 << 20
	// minBudget is the smallest budget of a read after a fast one.
	minBudget = 64 << 10
	// slowRead is how long the bytes of a reply may take. After a slower reply the next one is
	// smaller, so that leases do not end during the transfer and replies do not exceed the client's
	// ReadTimeout.
	slowRead = 250 * time.Millisecond
)

// room is how much to read: at most this many entries, and about this many bytes. One entry is
// always allowed, however large. While the subscription is paused there is none.
type room struct {
	entries, bytes int
	paused         bool
	empty          bool // nothing is held
}

// readAhead decides how much to read, from how long handlers take, how large entries are and how
// reads go. The inbox's lock guards it.
type readAhead struct {
	workers int
	service float64 // moving average of the time that a worker spends on an entry, in ns
	grown   int     // completions since handlers became fast; bounds the read-ahead
	size    int     // estimate of an entry's bytes: the largest of the recent ones
	seen    int     // entries read so far; bounds a read while sizes are little known
	budget  int     // bytes that a reply may have now
}

func newReadAhead(workers int) readAhead { return readAhead{workers: workers, budget: maxHeldBytes} }

// finished records that a worker spent d on an entry.
func (r *readAhead) finished(d time.Duration) {
	if r.service == 0 {
		r.service = float64(d)
	} else {
		r.service += (float64(d) - r.service) / 8
	}
	if r.service >= float64(aheadWindow) {
		r.grown = 0
		return
	}
	r.grown = min(r.grown+1, maxAhead)
}

// received records a reply: its entries, the size of the largest, all bytes, and how long these
// took.
func (r *readAhead) received(entries, largest, bytes int, took time.Duration) {
	r.seen += entries
	r.size = max(largest, r.size-r.size/8, 1)
	if took > slowRead {
		r.budget = min(r.budget, max(1, int(float64(bytes)*float64(slowRead)/float64(took))))
		return
	}
	r.budget = min(max(2*r.budget, 2*bytes, minBudget), maxHeldBytes)
}

// failed records a read whose reply was incomplete: the next one asks for one entry.
func (r *readAhead) failed() { r.budget = 1 }

// ahead is how many entries may wait for a worker. It is 0 while handlers take longer than the
// window, or their speed is unknown.
func (r *readAhead) ahead() int {
	if r.grown == 0 {
		return 0
	}
	inWindow := float64(r.workers) * float64(aheadWindow) / max(r.service, 1)
	return int(min(inWindow, float64(r.grown), maxAhead))
}

// load is what the inbox holds.
type load struct {
	order    order
	working  int  // entries in flight
	pausing  int  // entries whose retry pause blocks a key queue
	ready    int  // entries that a worker may take
	blocked  int  // entries that wait for others
	held     int  // all entries except deferred ones
	bytes    int  // of all entries
	claiming bool // entries wait for older ones that are being claimed
	claimed  int  // claimed entries that no handler has had
}

// room decides how much to read now. It waits until half of the target is free, so that a read is
// worth its round trip.
func (r *readAhead) room(l load) room {
	free := r.workers - l.working
	if l.order == strict {
		free -= l.pausing
	}
	most := maxAhead + r.workers - l.held
	want := r.want(l, free, most)
	if full := l.bytes >= maxHeldBytes && l.held > 0; full || most <= 0 {
		if free <= 0 || l.ready > 0 || !l.overfills(most) {
			return room{}
		}
		most = 1
	}
	if want = min(want, most); want <= 0 {
		return room{}
	}
	return r.next(want, l.bytes)
}

// want is how much more to hold, with that many idle workers, and room for that many entries.
func (r *readAhead) want(l load, free, most int) (want int) {
	target := free + r.ahead()
	if l.ready+l.blocked <= target/2 {
		want = target - l.ready - l.blocked
	}
	if l.order == byKey && free > l.ready && most >= maxRead/4 {
		// Workers are idle, and what is held waits for other entries of its key. Newer entries may
		// have other keys.
		want = max(want, free-l.ready, l.blocked)
	}
	if l.claiming && free > 0 && l.ready == 0 {
		want = max(want, 1) // all that is held waits for what is claimed next
	}
	return want
}

// overfills reports whether a full inbox takes one more entry: its entries may wait for the one
// that is claimed next. If claimed entries wait too, because their keys are busy, there is an upper
// bound.
func (l load) overfills(most int) bool {
	overfull := l.bytes >= 2*maxHeldBytes || most <= -maxAhead
	return l.claiming && (l.claimed == 0 || !overfull)
}

// next returns how much to read if want more entries may be held; held is the bytes already held.
func (r *readAhead) next(want, held int) room {
	budget := max(1, min(r.budget, maxHeldBytes-held))
	n := min(want, maxRead, 2*r.seen+1)
	if r.size > 0 {
		n = min(n, max(1, budget/r.size))
	}
	return room{entries: n, bytes: budget}
}
