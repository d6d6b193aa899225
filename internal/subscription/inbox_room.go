package subscription

import (
	"time"
)

// awaitSpace waits until entries are to be read, or for the given time, and returns how much to read: no entries when the time
// is over. It reports whether the inbox is open.
func (b *inbox) awaitSpace(patience time.Duration) (r room, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r = b.wanted(); r.entries > 0 || b.closed {
		return r, !b.closed
	}
	over := patience <= 0
	timer := time.AfterFunc(patience, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		over = true
		b.space.Signal()
	})
	defer timer.Stop()
	b.hungry = true
	defer func() { b.hungry = false }()
	for r.entries == 0 && !b.closed && !over {
		b.space.Wait()
		r = b.wanted()
	}
	return r, !b.closed
}

func (b *inbox) offerSpace() {
	if b.hungry && b.wanted().entries > 0 {
		b.space.Signal()
	}
}

// wanted is how much to read now. Half a read-ahead is left to run down first, so that a
// read is worth its round trip.
func (b *inbox) wanted() room {
	free := b.window.lanes - b.working
	if b.order == strict {
		free -= b.pausing
	}
	ready, waiting := b.queue.len(), b.lined
	if b.gap != "" { // the others are newer, and wait for what is claimed now
		ready = b.queue.count(func(e *entry) bool { return !e.isLater(b.gap) })
		waiting = max(0, b.claimed-ready)
	}
	target := free + b.window.ahead()
	want := 0
	if ready+waiting <= target/2 {
		want = target - ready - waiting
	}
	most := maxAhead + b.window.lanes - (len(b.held) - b.asides)
	if b.order == byKey && free > ready && most >= maxRead/4 {
		// Lanes are free, and what is held waits for other entries of its key. What follows may be of other keys.
		want = max(want, free-ready, waiting)
	}
	if full := b.bytes >= maxHeldBytes && len(b.held) > b.asides; full || most <= 0 {
		if free <= 0 || ready > 0 || !b.overfills(most) {
			return room{}
		}
		most = 1
	}
	if want = min(want, most); want <= 0 {
		return room{}
	}
	return b.window.next(want, b.bytes)
}

// overfills reports whether a full inbox takes an entry more: what it holds may wait for what is claimed next. If that waits
// too, because its keys are busy, there is an end.
func (b *inbox) overfills(most int) bool {
	overfull := b.bytes >= 2*maxHeldBytes || most <= -maxAhead
	return b.gap != "" && (b.claimed == 0 || !overfull)
}
