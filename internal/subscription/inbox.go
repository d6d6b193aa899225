package subscription

import (
	"sync"
	"time"
)

// inbox holds the entries that the server gave to this subscription. The reader fills it, workers
// take from it, the lease loop renews what stays in it, and the acker and Close empty it.
//
// mu guards all of it: the entries' mutable fields, the key queues, the lease table, the read-ahead,
// the retry timers and the pause. Nothing blocks while it is held but the two condition variables.
type inbox struct {
	mu      sync.Mutex
	ready   sync.Cond // an entry is ready, or closed
	space   sync.Cond // the reader may read, or closed
	queues  keyQueues
	table   leaseTable
	ahead   readAhead
	retries retryTimers
	working int  // entries in flight
	hungry  bool // the reader waits for room
	closed  bool
	still   pauseState
	crew    crew
}

func newInbox(workers int, order order) *inbox {
	b := &inbox{queues: newKeyQueues(order), table: newLeaseTable(), ahead: newReadAhead(workers)}
	b.ready.L, b.space.L, b.retries.lock = &b.mu, &b.mu, &b.mu
	return b
}

// arrival is what one read brought.
type arrival struct {
	entries []entry
	began   time.Time     // when the read began: no lease is older
	took    time.Duration // how long the bytes took
	sorted  bool          // the entries may be older than those that are held
	gap     string        // see keyQueues.setGap
}

// add takes what the reader read. It owns the entries from here on.
func (b *inbox) add(a arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	largest, bytes := 0, 0
	for i := range a.entries {
		e := &a.entries[i]
		largest = max(largest, e.size)
		bytes += e.size
		if b.table.add(e, a.began.Add(-e.Idle)) {
			b.queues.add(e, a.sorted)
		}
	}
	if len(a.entries) > 0 {
		b.ahead.received(len(a.entries), largest, bytes, a.took)
	}
	switch {
	case b.queues.setGap(a.gap), len(a.entries) > 1:
		b.wakeAll()
	case len(a.entries) == 1:
		b.wake()
	}
}

// readFailed records a read that brought nothing, or not everything.
func (b *inbox) readFailed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead.failed()
}

// awaitRoom waits until entries are to be read, at most for the given time, and returns how much to
// read: no entries when the time is over. It reports whether the inbox is open.
func (b *inbox) awaitRoom(wait time.Duration) (r room, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r = b.room(); r.entries > 0 || r.paused || b.closed {
		return r, !b.closed
	}
	over := wait <= 0
	timer := time.AfterFunc(wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		over = true
		b.space.Signal()
	})
	defer timer.Stop()
	b.hungry = true
	defer func() { b.hungry = false }()
	for r.entries == 0 && !r.paused && !b.closed && !over {
		b.space.Wait()
		r = b.room()
	}
	return r, !b.closed
}

func (b *inbox) room() room {
	if b.still.on {
		return room{paused: true}
	}
	ready, blocked := b.queues.waiting()
	r := b.ahead.room(load{
		order: b.queues.order, working: b.working, pausing: b.retries.blocking,
		ready: ready, blocked: blocked, held: len(b.table.entries) - b.table.deferred, bytes: b.table.bytes,
		claiming: b.queues.gap != "", claimed: b.queues.claimed,
	})
	r.empty = len(b.table.entries) == 0
	return r
}

// offerRoom wakes the reader if there is something to read.
func (b *inbox) offerRoom() {
	if b.hungry && b.room().entries > 0 {
		b.space.Signal()
	}
}

// take waits for the next entry and hands it to a worker, which owns it until it calls one of
// settling, done, retry, retryLater, deferDeadLetter, discard or keepLate. It returns nil when the inbox is
// closed: Close releases whatever a worker still owns. It also returns nil when the worker is not
// needed any more.
func (b *inbox) take() *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for (b.still.on || !b.queues.hasNext()) && !b.closed {
			if !b.await() {
				return nil
			}
		}
		if b.closed {
			return nil
		}
		e := b.queues.next()
		if e.lost || e.commit == committed {
			b.end(e)
			b.offerRoom()
			continue
		}
		e.become(inFlight)
		b.working++
		b.offerRoom()
		b.hire()
		return e
	}
}

// delivering records that an entry is about to go to its handler, with its message's context. It
// returns which delivery this is.
func (b *inbox) delivering(e *entry, ctx *deliveryContext) (delivery int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.context = ctx
	e.handed++
	if e.lost {
		ctx.end()
	}
	return e.delivered()
}

// received records that a handler has the entry.
func (b *inbox) received(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.heldSince = time.Now()
}

// undelivered takes delivering back: no handler got the entry.
func (b *inbox) undelivered(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.handed--
	e.context = nil
}

// settling takes an entry that a worker spent d on: the acker or the postponer owns it now.
func (b *inbox) settling(e *entry, d time.Duration) {
	b.finish(e, d, func() {
		e.become(settling)
		e.again = false
		b.unblock(e)
	})
}

// done ends an entry that a worker spent d on: the server expects no ack.
func (b *inbox) done(e *entry, d time.Duration) { b.finish(e, d, func() { b.end(e) }) }

// discard ends an entry that nobody here is to work on any more.
func (b *inbox) discard(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveWorker(e)
	b.end(e)
	b.offerRoom()
}

// retry takes an entry that a worker spent d on for another delivery after a pause. In an ordered
// subscription its successors wait.
func (b *inbox) retry(e *entry, d, pause time.Duration) {
	b.finish(e, d, func() {
		if e.lost {
			b.end(e)
		} else {
			b.pause(e, pause)
		}
	})
}

// deferDeadLetter takes an entry that could not be dead-lettered. The worker tries again after a
// pause, and no other entry waits for it.
func (b *inbox) deferDeadLetter(e *entry, reason error, pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveWorker(e)
	e.inTrouble().undeliverable = reason
	if e.deferrals == 0 {
		b.unblock(e)
	}
	b.table.deferEntry(e)
	b.pause(e, pause)
	b.offerRoom()
}

// finish ends a worker's work on an entry, which took d.
func (b *inbox) finish(e *entry, d time.Duration, then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead.finished(d)
	b.leaveWorker(e)
	then()
	b.offerRoom()
}

func (b *inbox) leaveWorker(e *entry) {
	b.working--
	e.context, e.heldSince, e.reportedAt = nil, time.Time{}, 0
}

// unblock lets the successor of an entry be taken.
func (b *inbox) unblock(e *entry) {
	if b.queues.unblock(e) {
		b.wake()
	}
}

// end forgets an entry that no worker and no acker owns.
func (b *inbox) end(e *entry) {
	b.unblock(e)
	b.table.remove(e)
}

func (b *inbox) pause(e *entry, pause time.Duration) {
	if b.closed {
		e.become(queued)
		return
	}
	e.become(paused)
	if pause <= 0 {
		b.requeue(e)
		b.unheld()
		return
	}
	b.unheld()
	blocks := b.queues.order != unordered && e.deferrals == 0
	b.retries.start(e, pause, blocks, func() { b.requeue(e) })
}

func (b *inbox) requeue(e *entry) {
	e.become(queued)
	b.queues.requeue(e)
	b.wake()
}

// deadLettering marks an entry that its worker dead-letters: the server is about to acknowledge it.
func (b *inbox) deadLettering(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.become(settling)
}

// keepLate marks an entry whose handler still runs when Close stops waiting: it is not released.
func (b *inbox) keepLate(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.become(late)
	e.forgetContent() // the handler's message is a copy
}

// acknowledged ends entries whose acks the server has.
func (b *inbox) acknowledged(acks []ack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ack := range acks {
		if ack.entry != nil {
			b.table.remove(ack.entry)
		}
	}
	b.offerRoom()
}

// postponed ends an entry that is in the retry queue.
func (b *inbox) postponed(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.table.remove(e)
	b.offerRoom()
}

// close wakes the workers and the reader, and ends all pauses. The entries stay, for the release.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.retries.stop(b.table.entries)
	b.wakeAll()
	b.space.Broadcast()
}

// holds reports whether an entry is here.
func (b *inbox) holds(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.table.entries[id] != nil
}

// leasedAt returns a time before which the lease of an entry did not begin.
func (b *inbox) leasedAt(e *entry) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.leasedAt
}

// leases runs f on the lease table.
func (b *inbox) leases(f func(table *leaseTable)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.table)
}
