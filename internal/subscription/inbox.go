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

	undeliverable error  // why no handler is to get it, once that is known; nil: the lane finds out
	failure       error  // what its handler returned last, if it told
	uuid          string // of its message, once it is to be dead-lettered

	state   state
	handed  int                // how often we gave it to a handler
	aside   int                // how often it could not be dead-lettered; then it keeps no line waiting
	lost    bool               // belongs to somebody else now
	trimmed bool               // no longer in the stream: nobody else can get it
	touched time.Time          // when its idle time on the server last began anew, at the latest
	since   time.Time          // since when a handler has it
	warned  time.Duration      // how long a handler had it when that was logged
	cancel  context.CancelFunc // ends the context of the message that is with the handler
	timer   *time.Timer        // ends its pause
}

type state uint8

const (
	queued   state = iota // owned by the inbox: in the queue or in a line
	paused                // owned by its timer
	inLane                // owned by a lane, and by the handler while the message is with it
	settling              // owned by the acker, or by the lane that dead-letters it: it needs no lease
	late                  // owned by its handler, after Close gave up waiting for it
)

// delivered is how often handlers saw the entry, in whatever process.
func (e *entry) delivered() int64 { return e.Deliveries - 1 + int64(e.handed) }

// isLater reports whether an entry may wait for one with the given ID: no handler has had it, and it is newer.
func (e *entry) isLater(id string) bool { return e.handed == 0 && stream.Precedes(id, e.ID) }

// line is the entries of a key: one of them, the head, is queued, paused or in a lane; the others wait behind it.
type line struct {
	head   *entry
	behind fifo[*entry]
}

// order is what an inbox keeps.
type order uint8

const (
	unordered order = iota
	byKey           // one entry of a key at a time
	strict          // one entry at a time
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

// enqueue puts an entry behind all others, in an ordered inbox behind those of its key. A sorted one comes before all that
// are newer and that no handler has had.
func (b *inbox) enqueue(e *entry, sorted bool) {
	e.state = queued
	if b.order == unordered || e.aside > 0 {
		b.queue.push(e)
		return
	}
	l := b.lines[e.key]
	switch {
	case l == nil:
		b.lines[e.key] = &line{head: e}
		b.queue.insert(b.place(&b.queue, e, sorted), e)
	case sorted && l.head.state == queued && l.head.isLater(e.ID):
		b.queue.remove(func(other *entry) bool { return other == l.head })
		l.behind.pushFront(l.head)
		b.lined++
		l.head = e
		b.queue.insert(b.place(&b.queue, e, sorted), e)
	default:
		l.behind.insert(b.place(&l.behind, e, sorted), e)
		b.lined++
	}
}

// place is where an entry goes in a queue.
func (b *inbox) place(q *fifo[*entry], e *entry, sorted bool) int {
	if sorted {
		if i := q.index(func(other *entry) bool { return other.isLater(e.ID) }); i >= 0 {
			return i
		}
	}
	return q.len()
}

func (b *inbox) wake(n int) {
	if n == 1 {
		b.ready.Signal()
	} else {
		b.ready.Broadcast()
	}
}

// holdBehind makes entries that no handler has had, and that are newer than the given one, wait: it is another's, and
// about to be claimed. Empty: none waits.
func (b *inbox) holdBehind(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setGap(id)
}

// setGap is holdBehind; it reports whether anything changed.
func (b *inbox) setGap(id string) bool {
	if b.order == unordered || b.gap == id {
		return false
	}
	b.gap = id
	b.ready.Broadcast()
	return true
}

// takeable reports whether a lane may have the first entry of the queue.
func (b *inbox) takeable() bool {
	return b.queue.len() > 0 && (b.gap == "" || !b.queue.first().isLater(b.gap))
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

// unclaim notes that an entry no longer waits for its first handler here.
func (b *inbox) unclaim(e *entry) {
	if e.Claimed {
		e.Claimed = false
		b.claimed--
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

// leasedSince is when the lease of an entry began at the latest.
func (b *inbox) leasedSince(e *entry) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.touched
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

// settle marks an entry that a lane has: no handler has it any more, and the server is about to be told.
func (b *inbox) settle(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.state = settling
}

// outlast marks an entry whose handler still runs when Close gives up waiting: it is not released.
func (b *inbox) outlast(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.state = late
	e.Fields, e.msg = nil, nil // the message that the handler has is a copy
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

// requeue puts an entry before all others: it is the oldest, and holds its line.
func (b *inbox) requeue(e *entry) {
	e.state = queued
	b.queue.pushFront(e)
	b.ready.Signal()
}

// nextInLine lets the successor of an entry be taken.
func (b *inbox) nextInLine(e *entry) {
	if b.order == unordered || e.aside > 0 {
		return
	}
	l := b.lines[e.key]
	if l.behind.len() == 0 {
		delete(b.lines, e.key)
		return
	}
	b.lined--
	l.head = l.behind.pop()
	b.queue.insert(b.place(&b.queue, l.head, l.head.Claimed), l.head)
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
		// What is held may wait for what is claimed next. If that waits too, because its keys are busy, there is an end.
		overfull := b.bytes >= 2*maxHeldBytes || most <= -maxAhead
		if b.gap == "" || free <= 0 || ready > 0 || overfull && b.claimed > 0 {
			return room{}
		}
		most = 1
	}
	if want = min(want, most); want <= 0 {
		return room{}
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
		if e.state != settling && !e.lost && !e.trimmed && e.touched.Before(before) {
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
		if e == nil || e.state == settling || e.trimmed {
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

// leases returns all that is still held and ours, and at Close to be released: all but what late handlers keep.
func (b *inbox) leases() (release []stream.Lease, keep []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	release = make([]stream.Lease, 0, len(b.held))
	for id, e := range b.held {
		switch {
		case e.lost:
		case e.state == late:
			keep = append(keep, id)
		default:
			release = append(release, stream.Lease{ID: id, Deliveries: e.delivered()})
		}
	}
	return release, keep
}

// longHeld returns the entries that a handler has had for the given time, and for each since when; each comes again after
// twice the time.
func (b *inbox) longHeld(limit time.Duration) map[string]time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.working == 0 {
		return nil
	}
	var list map[string]time.Duration
	for id, e := range b.held {
		if e.state != inLane || e.since.IsZero() {
			continue
		}
		if held := time.Since(e.since); held >= max(limit, 2*e.warned) {
			if list == nil {
				list = make(map[string]time.Duration)
			}
			list[id], e.warned = held, held
		}
	}
	return list
}
