package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// entry is one entry of the stream from the moment that the server handed it to us until it is
// acknowledged there, released, or lost. Its mutable part is guarded by the inbox.
type entry struct {
	stream.Entry
	key  string           // its line, in an ordered subscription
	msg  *message.Message // decoded ahead for its key; nil: the lane decodes
	size int

	undeliverable error // why no handler is to get it, once that is known; nil: the lane finds out

	state   state
	handed  int                // how often we gave it to a handler
	aside   int                // how often it could not be dead-lettered; then it keeps no line waiting
	lost    bool               // belongs to somebody else now
	trimmed bool               // no longer in the stream: nobody else can get it
	touched time.Time          // when its idle time on the server last began anew, at the latest
	cancel  context.CancelFunc // ends the context of the message that is with the handler
	timer   *time.Timer        // ends its pause
}

type state uint8

const (
	queued state = iota // owned by the inbox: in the queue or in a line
	paused              // owned by its timer
	inLane              // owned by a lane, and by the handler while the message is with it
	acked               // owned by the acker
)

// delivered is how often handlers saw the entry, in whatever process.
func (e *entry) delivered() int64 { return e.Deliveries - 1 + int64(e.handed) }

// inbox holds what the server handed to us: the reader fills it, lanes take from it, the lease
// renews what stays in it, the acker and Close empty it.
type inbox struct {
	ordered bool // one entry of a key at a time

	mu      sync.Mutex
	ready   sync.Cond // an entry is queued, or closed
	space   sync.Cond // the reader may read, or closed
	held    map[string]*entry
	queue   fifo[*entry]             // what a lane may take now
	lines   map[string]*fifo[*entry] // entries behind the one of their key that is queued or in a lane
	lined   int                      // entries in lines
	working int                      // entries in lanes
	pausing int                      // entries that pause and keep their line waiting
	asides  int                      // entries set aside
	bytes   int                      // of all that is held
	window  window
	hungry  bool // the reader waits for space
	closed  bool
	sending sync.WaitGroup // lanes that may still send to the output
}

func newInbox(lanes int, ordered bool) *inbox {
	b := &inbox{
		ordered: ordered,
		held:    make(map[string]*entry),
		lines:   make(map[string]*fifo[*entry]),
		window:  window{lanes: lanes},
	}
	b.ready.L, b.space.L = &b.mu, &b.mu
	return b
}

// add takes what the reader read; touched is when the read began at the latest.
func (b *inbox) add(entries []entry, touched time.Time) {
	if len(entries) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	largest := 0
	for i := range entries {
		e := &entries[i]
		if old := b.held[e.ID]; old != nil {
			old.lost, old.touched = false, touched // ours again: the group vanished and began anew
			continue
		}
		e.touched = touched
		largest = max(largest, e.size)
		b.held[e.ID] = e
		b.bytes += e.size
		b.enqueue(e)
	}
	b.window.read(len(entries), largest)
	b.wake(len(entries))
}

// enqueue puts an entry behind all others, in an ordered inbox behind those of its key.
func (b *inbox) enqueue(e *entry) {
	e.state = queued
	if b.ordered && e.aside == 0 {
		if line := b.lines[e.key]; line != nil {
			line.push(e)
			b.lined++
			return
		}
		b.lines[e.key] = &fifo[*entry]{}
	}
	b.queue.push(e)
}

func (b *inbox) wake(n int) {
	if n == 1 {
		b.ready.Signal()
	} else {
		b.ready.Broadcast()
	}
}

// take hands the next entry to a lane, and waits for it; nil: closed. A lane that got one
// may send to the output, until it calls sent.
func (b *inbox) take() *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for b.queue.len() == 0 && !b.closed {
			b.ready.Wait()
		}
		if b.closed {
			return nil
		}
		e := b.queue.pop()
		if e.lost {
			b.forget(e)
			b.offerSpace()
			continue
		}
		e.state = inLane
		b.working++
		b.sending.Add(1)
		b.offerSpace()
		return e
	}
}

// handing notes that the entry is about to go to the handler, with the function that ends its
// message's context. It returns which delivery this is, since when the lease runs, and whether the entry is still ours.
func (b *inbox) handing(e *entry, cancel context.CancelFunc) (delivery int64, touched time.Time, ours bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.cancel = cancel
	e.handed++
	return e.delivered(), e.touched, !e.lost
}

// sent tells that the lane no longer sends.
func (b *inbox) sent() { b.sending.Done() }

// unsent tells that the lane no longer sends, and that the handler did not get the entry.
func (b *inbox) unsent(e *entry) {
	b.mu.Lock()
	e.handed--
	b.mu.Unlock()
	b.sending.Done()
}

// finish takes an entry back from a lane that spent d on it. If the server is still to be told, the
// acker owns it from here on and calls drop.
func (b *inbox) finish(e *entry, d time.Duration, acker bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.finished(d)
	b.leaveLane(e)
	if acker {
		e.state = acked
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
	e.size, e.Fields, e.msg, e.undeliverable = 0, nil, nil, reason
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
	e.cancel = nil
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
	if b.ordered && e.aside == 0 {
		b.pausing++
	}
	e.timer = time.AfterFunc(pause, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed {
			return
		}
		if b.ordered && e.aside == 0 {
			b.pausing--
		}
		b.requeue(e)
	})
}

// requeue puts an entry before all others: it is the oldest, and holds its line.
func (b *inbox) requeue(e *entry) {
	e.state = queued
	b.queue.pushFront(e)
	b.ready.Signal()
}

// nextInLine lets the successor of an entry be taken.
func (b *inbox) nextInLine(e *entry) {
	if !b.ordered || e.aside > 0 {
		return
	}
	line := b.lines[e.key]
	if line.len() == 0 {
		delete(b.lines, e.key)
		return
	}
	b.lined--
	b.queue.push(line.pop())
	b.ready.Signal()
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
	e.Fields, e.msg = nil, nil // entries that were read together share their memory
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

// awaitSpace waits until entries are to be read, or for the given time, and returns how many to read: 0 when the time
// is over. It reports whether the inbox is open.
func (b *inbox) awaitSpace(patience time.Duration) (n int, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n = b.wanted(); n > 0 || b.closed {
		return n, !b.closed
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
	for n == 0 && !b.closed && !over {
		b.space.Wait()
		n = b.wanted()
	}
	return n, !b.closed
}

func (b *inbox) offerSpace() {
	if b.hungry && b.wanted() > 0 {
		b.space.Signal()
	}
}

// wanted is how many entries to read now. Half a read-ahead is left to run down first, so that a
// read is worth its round trip.
func (b *inbox) wanted() int {
	waiting := b.queue.len() + b.lined
	target := b.window.lanes - b.working - b.pausing + b.window.ahead()
	want := min(target-waiting, maxAhead+b.window.lanes-(len(b.held)-b.asides))
	if want <= 0 || (waiting > 0 && waiting > target/2) {
		return 0
	}
	if b.bytes >= maxAheadBytes && len(b.held) > b.asides {
		return 0
	}
	return b.window.next(want, b.bytes)
}

// owns reports whether the entry is held here.
func (b *inbox) owns(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[id] != nil
}

// due returns the leases that were last renewed before the given time. What is acknowledged
// needs none, nor what is in no stream any more.
func (b *inbox) due(before time.Time) []stream.Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	var leases []stream.Lease
	for id, e := range b.held {
		if e.state != acked && !e.lost && !e.trimmed && e.touched.Before(before) {
			leases = append(leases, stream.Lease{ID: id, Deliveries: max(e.delivered(), e.Counted)})
		}
	}
	return leases
}

// renewed notes the outcome of a renewal that began at the given time. The handlers of what is
// lost are told by their message's context. It returns the entries that were lost without being
// acknowledged by us.
func (b *inbox) renewed(leases []stream.Lease, began time.Time, lost, trimmed []string) (taken []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range leases {
		if e := b.held[l.ID]; e != nil {
			e.touched = began
		}
	}
	for _, id := range trimmed {
		if e := b.held[id]; e != nil {
			e.trimmed = true
		}
	}
	for _, id := range lost {
		e := b.held[id]
		if e == nil || e.state == acked || e.trimmed {
			continue
		}
		e.lost = true
		taken = append(taken, id)
		if e.cancel != nil {
			e.cancel()
		}
	}
	return taken
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

// leases returns all that is still held and ours, to be released.
func (b *inbox) leases() []stream.Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	leases := make([]stream.Lease, 0, len(b.held))
	for id, e := range b.held {
		if !e.lost {
			leases = append(leases, stream.Lease{ID: id, Deliveries: e.delivered()})
		}
	}
	return leases
}
