package subscription

import (
	"context"
	"sync"
	"time"
)

// inbox holds what the server handed to us: the reader fills it, lanes take from it, the lease
// renews what stays in it, the acker and Close empty it.
type inbox struct {
	order order

	mu      sync.Mutex
	ready   sync.Cond // an entry is queued, or closed
	space   sync.Cond // the reader may read, or closed
	held    map[string]*entry
	queue   fifo[*entry] // what a lane may take now
	lines   map[string]*line
	lined   int    // entries behind the head of their line
	working int    // entries in lanes
	pausing int    // entries that pause and keep their line waiting
	asides  int    // entries set aside
	bytes   int    // of all that is held
	gap     string // entries of others from this ID on are being claimed: newer ones wait for them; empty: none
	claimed int    // entries that came from others and that no handler has had yet
	window  window
	hungry  bool // the reader waits for space
	closed  bool
	sending sync.WaitGroup // lanes that may still send to the output
}

func newInbox(lanes int, order order) *inbox {
	b := &inbox{
		order:  order,
		held:   make(map[string]*entry),
		lines:  make(map[string]*line),
		window: newWindow(lanes),
	}
	b.ready.L, b.space.L = &b.mu, &b.mu
	return b
}

// arrival is what one read brought.
type arrival struct {
	entries []entry
	began   time.Time     // when the read began: the leases are as old as that at most
	took    time.Duration // how long the bytes were under way
	sort    bool          // they may be older than what is held
	gap     string        // see holdBehind
}

// add takes what the reader read.
func (b *inbox) add(a arrival) {
	if len(a.entries) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	largest, bytes := 0, 0
	for i := range a.entries {
		e := &a.entries[i]
		touched := a.began.Add(-e.Idle)
		largest = max(largest, e.size)
		bytes += e.size
		if old := b.held[e.ID]; old != nil {
			old.lost, old.touched = false, touched // ours again: the group vanished and began anew
			continue
		}
		e.touched = touched
		b.held[e.ID] = e
		b.bytes += e.size
		if e.Claimed {
			b.claimed++
		}
		b.enqueue(e, a.sort)
	}
	b.window.read(len(a.entries), largest, bytes, a.took)
	if !b.setGap(a.gap) {
		b.wake(len(a.entries))
	}
}

// failed notes that a read brought nothing, or not all.
func (b *inbox) failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.failed()
}

func (b *inbox) wake(n int) {
	if n == 1 {
		b.ready.Signal()
	} else {
		b.ready.Broadcast()
	}
}

// take hands the next entry to a lane, and waits for it; nil: closed.
func (b *inbox) take() *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for !b.takeable() && !b.closed {
			b.ready.Wait()
		}
		if b.closed {
			return nil
		}
		e := b.queue.pop()
		b.unclaim(e)
		if e.lost {
			b.forget(e)
			b.offerSpace()
			continue
		}
		e.state = inLane
		b.working++
		b.offerSpace()
		return e
	}
}

// handing notes that the entry is about to go to the handler, with the function that ends its
// message's context. It returns which delivery this is.
func (b *inbox) handing(e *entry, cancel context.CancelFunc) (delivery int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.cancel = cancel
	e.handed++
	if e.lost {
		cancel()
	}
	return e.delivered()
}

// startSending admits a lane that wants to send to the output, unless the inbox is closed. The lane ends it with stopSending.
func (b *inbox) startSending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.sending.Add(1)
	return true
}

func (b *inbox) stopSending() { b.sending.Done() }

// sent notes that a handler has the entry.
func (b *inbox) sent(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.since = time.Now()
}

// unsent takes back what handing noted: the handler did not get the entry.
func (b *inbox) unsent(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.handed--
	e.cancel = nil
}

// finish takes an entry back from a lane that spent d on it. If the server is still to be told, the
// acker owns it from here on and calls drop.
func (b *inbox) finish(e *entry, d time.Duration, acker bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.finished(d)
	b.leaveLane(e)
	if acker {
		e.state = settling
		b.nextInLine(e)
	} else {
		b.forget(e)
	}
	b.offerSpace()
}

// discard ends an entry that a lane has: nobody here is to work on it any more.
func (b *inbox) discard(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveLane(e)
	b.forget(e)
	b.offerSpace()
}

// retry takes an entry back from a lane for another delivery after a pause. In an ordered inbox
// its successors wait.
func (b *inbox) retry(e *entry, d, pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.finished(d)
	b.leaveLane(e)
	if e.lost {
		b.forget(e)
	} else {
		b.pause(e, pause)
	}
	b.offerSpace()
}

// setAside takes an entry that could not be dead-lettered back from a lane: it comes again after a pause,
// and nobody waits for it. As there may be any number of such, only the ID is kept of each.
func (b *inbox) setAside(e *entry, reason error, pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveLane(e)
	b.bytes -= e.size
	e.DropFields()
	e.size, e.msg, e.undeliverable = 0, nil, reason
	if e.aside == 0 {
		b.nextInLine(e)
		b.asides++
	}
	e.aside++
	b.pause(e, pause)
	b.offerSpace()
}

func (b *inbox) leaveLane(e *entry) {
	b.working--
	e.cancel, e.since, e.warned = nil, time.Time{}, 0
}

func (b *inbox) pause(e *entry, pause time.Duration) {
	if b.closed {
		e.state = queued
		return
	}
	if pause <= 0 {
		b.requeue(e)
		return
	}
	e.state = paused
	keepsLine := b.order != unordered && e.aside == 0
	if keepsLine {
		b.pausing++
	}
	e.timer = time.AfterFunc(pause, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed {
			return
		}
		if keepsLine {
			b.pausing--
		}
		b.requeue(e)
	})
}

// forget ends an entry that no lane and no acker owns.
func (b *inbox) forget(e *entry) {
	b.nextInLine(e)
	b.remove(e)
}

func (b *inbox) remove(e *entry) {
	if b.held[e.ID] != e {
		return
	}
	delete(b.held, e.ID)
	e.DropFields() // entries that were read together share their memory
	e.msg = nil
	b.bytes -= e.size
	if e.aside > 0 {
		b.asides--
	}
}

// drop ends entries whose acknowledgement is through.
func (b *inbox) drop(entries []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		b.remove(e)
	}
	b.offerSpace()
}

// close stops lanes that wait, ends all pauses, and returns when no lane sends any more. What is
// held stays held, for release.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	for _, e := range b.held {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
	b.ready.Broadcast()
	b.space.Broadcast()
	b.mu.Unlock()
	b.sending.Wait()
}
