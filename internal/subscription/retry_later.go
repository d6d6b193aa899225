package subscription

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// maxWaiting is how many entries may wait in memory without blocking others. More would fill the
// inbox, so that nothing new is read.
const maxWaiting = 100

var errRejected = errors.New("rejected by its handler")

// Decision is what a handler said of a message that it nacked.
type Decision struct {
	Failure error // why; nil: unknown
	Reject  bool  // it is not delivered again
	Retry   Retry
}

// Retry is when a nacked message comes again.
type Retry struct {
	Asked      bool // otherwise Backoff decides
	Wait       time.Duration
	OutOfOrder bool // nothing waits for it; otherwise its key queue does, while it waits in memory
}

// retryLater delivers an entry again after the wait. A short one passes in memory: the lease lasts
// longer, even if this process dies at once. Otherwise the entry goes to the retry queue of the
// group, and others of its key do not wait for it.
func (g *group) retryLater(e *entry, spent time.Duration, retry Retry) {
	if retry.Wait <= g.minIdle/2 && g.inbox.hasRoomToWait(retry) {
		if g.age(e) > g.minIdle/2 {
			// If it fails, renewDue tries again; nothing is worse than without a wait.
			_ = g.renewOne(e, e.delivered())
		}
		g.inbox.retryLater(e, spent, retry)
		return
	}
	lease := stream.Lease{ID: e.ID, Deliveries: e.delivered()}
	g.inbox.settling(e, spent)
	g.postponer.Add(postponement{e, stream.Postponement{Lease: lease, Wait: retry.Wait}})
}

// postpone puts entries that wait, and that this subscription does not deliver any more, into the
// retry queue, and returns how many went there. Entries for which that fails are released with the
// others.
func (g *group) postpone(ctx context.Context, entries []stream.Postponement) (parked int) {
	parked, err := g.sendPostponements(ctx, entries)
	if err != nil {
		g.reportNotPostponed(err, len(entries)-parked)
	}
	return parked
}

func (g *group) sendPostponements(ctx context.Context, entries []stream.Postponement) (parked int, err error) {
	for page := range slices.Chunk(entries, maxPostponed) {
		results, err := g.Stream.Postpone(ctx, page)
		if err != nil {
			return parked, err
		}
		parked += countParked(results)
	}
	return parked, nil
}

// countParked returns how many entries went into the retry queue.
func countParked(results []stream.PostponeResult) (n int) {
	for _, result := range results {
		if result == stream.Postponed {
			n++
		}
	}
	return n
}

func (g *group) reportNotPostponed(err error, count int) {
	g.member.logger.Error("messages that wait to be retried could not be put into the retry queue of the group; they may be redelivered earlier",
		err, watermill.LogFields{countField: count})
}

func (u unacknowledged) retryLater(e *entry, spent time.Duration, retry Retry) {
	u.inbox.retryLater(e, spent, retry)
}

func (unacknowledged) postpone(context.Context, []stream.Postponement) int { return 0 }

// hasRoomToWait reports whether an entry may wait in memory.
func (b *inbox) hasRoomToWait(retry Retry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blocks(retry) || b.retries.others < maxWaiting
}

func (b *inbox) blocks(retry Retry) bool { return b.queues.order != unordered && !retry.OutOfOrder }

// retryLater takes an entry that a worker spent d on for another delivery after a wait.
func (b *inbox) retryLater(e *entry, d time.Duration, retry Retry) {
	b.finish(e, d, func() {
		e.inTrouble().notBefore = time.Now().Add(retry.Wait)
		switch {
		case e.lost:
			b.end(e)
		case b.blocks(retry):
			b.pause(e, retry.Wait)
		default:
			b.waitAside(e, retry.Wait)
		}
	})
}

// waitAside lets the successors of an entry be taken while it waits.
func (b *inbox) waitAside(e *entry, wait time.Duration) {
	b.unblock(e)
	b.waitUnblocking(e, wait)
}

// cameAgain queues an entry that was due in the retry queue, and taken by our reader, before the
// postponer knew that it was there. It reports whether it was.
func (b *inbox) cameAgain(e *entry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !e.again {
		return false
	}
	e.again = false
	e.inTrouble().notBefore = time.Time{}
	e.become(queued)
	if !b.closed {
		b.queues.add(e, true)
		b.unheld()
		b.wake()
	}
	return true
}

// waitHere takes an entry that could not be put into the retry queue. Its successors do not wait.
func (b *inbox) waitHere(e *entry, wait time.Duration, uncertain bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.inTrouble().notBefore, e.trouble.mayBeQueued = time.Now().Add(wait), uncertain
	b.waitUnblocking(e, wait)
}

// waitUnblocking queues an entry again after the wait, before those that are newer.
func (b *inbox) waitUnblocking(e *entry, wait time.Duration) {
	if b.closed {
		e.become(queued)
		return
	}
	e.become(paused)
	b.unheld()
	b.retries.start(e, wait, false, func() {
		e.become(queued)
		b.queues.add(e, true)
		b.wake()
	})
}
