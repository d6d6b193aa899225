package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Group is the Backend of a consumer group whose entries are acknowledged.
type Group struct {
	Membership

	NeverClaim  bool                           // search only our own pending entries
	ShouldClaim func(stream.PendingEntry) bool // nil: every idle entry is taken over
	// EarlierProcess is set when an earlier process may have used the consumer's name. Entries that
	// are pending for the name are delivered first.
	EarlierProcess bool
	MaxDeliveries  int // 0: no limit
	// DeadLetters takes entries that are not delivered again: a DeadLetterStream or Skip.
	DeadLetters DeadLetters
}

// group is the Group of a running subscription.
type group struct {
	member
	deadLetters
	*leaseRenewal

	inbox         *inbox
	recovery      *recovery
	acker         *acker
	postponer     *postponer
	allReleased   bool // in this pause: all that was pending for us without a handler
	maxDeliveries int
	closing       <-chan struct{}
	abandoned     <-chan struct{} // closed when the messages' contexts end
}

func (g Group) attach(s *Subscription) backend { return g.attachGroup(s) }

func (g Group) attachGroup(s *Subscription) *group {
	b := &group{
		member: newMember(s, g.Membership, g.afterAcknowledged), deadLetters: g.DeadLetters.attach(s, g),
		leaseRenewal: newLeaseRenewal(s, g.Membership), inbox: s.inbox, acker: newAcker(g.Stream.Ack, s),
		maxDeliveries: g.MaxDeliveries, closing: s.closing, abandoned: s.messages.Done(),
	}
	b.postponer = newPostponer(s, g, b.retries)
	b.recovery = newRecovery(g, s, b.checkpoint)
	return b
}

// afterAcknowledged returns where the group continues after it vanished: just before its oldest
// pending entry, or after the last delivered one if none is pending. The position is unknown while
// the pending entries change.
func (g Group) afterAcknowledged(ctx context.Context, info stream.GroupInfo) (id string, known bool, err error) {
	if info.Pending == 0 {
		return info.LastDelivered, true, nil
	}
	rows, err := g.Stream.Pending(ctx, stream.Page{From: "-", Count: 1})
	if err != nil || len(rows) == 0 {
		return "", false, err
	}
	return stream.Before(rows[0].ID), true, nil
}

func (g *group) next(ctx context.Context, room room) ([]stream.Entry, error) {
	if err := g.pause.check(ctx); err != nil || g.pause.paused {
		return nil, err
	}
	entries, err := g.recovery.next(ctx, room)
	if len(entries) > 0 || err != nil || room.entries == 0 || g.pause.paused {
		return entries, err
	}
	if entries, err = g.retries.next(ctx, room); len(entries) > 0 || err != nil {
		return entries, err
	}
	entries, err = g.read(ctx, room, min(g.blockTime, g.recovery.untilDue(), g.retries.untilDue()))
	if len(entries) > 0 {
		g.recovery.endSharing()
	}
	return entries, err
}

func (g *group) gap() string { return g.recovery.gap() }

// recover starts a search for our own pending entries: the lost reply may have had some.
func (g *group) recover(ctx context.Context, err error) error {
	err = g.member.recover(ctx, err)
	g.recovery.searchOwn(true)
	return err
}

// awaitAcks sends earlier acks before a redelivery, so that a message that crashes the process
// can't lose them. Otherwise the acked messages would be redelivered too, and reach the delivery
// limit.
func (g *group) awaitAcks(e *entry) {
	if e.delivered() == 0 || g.maxDeliveries == 0 {
		return
	}
	select {
	case <-g.acker.flushed():
	case <-g.closing:
	case <-g.abandoned:
	}
}

func (g *group) acked(e *entry, d time.Duration) {
	g.inbox.settling(e, d)
	g.acker.add(e)
}

func (g *group) flush() {
	g.acker.Wait()
	g.postponer.Wait()
}

func (g *group) stop() {
	g.acker.stop()
	g.postponer.stop()
}

func (g *group) release(ctx context.Context) {
	var waiting []stream.Postponement
	g.inbox.leases(func(table *leaseTable) { waiting = table.waiting(paused, queued, releasing) })
	if parked := g.postpone(ctx, waiting); parked > 0 && g.observer != nil {
		g.observer.Parked(parked)
	}
	var release stream.Release
	g.inbox.leases(func(table *leaseTable) { release.Leases, release.Keep = table.atClose() })
	release.TakeBack = g.recovery.knowsOwn.Load()
	g.releaseEntries(ctx, release)
}

func (*group) keepsLateMessages() bool { return true }

func (g *group) ackLate(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	if err := g.Stream.Ack(ctx, ids); err != nil && !ownsNothing(err) {
		return err
	}
	return nil
}

func (g *group) releaseLate(ctx context.Context, release stream.Release) error {
	release.Remove = g.RemoveAtEnd
	if _, err := g.Stream.Release(ctx, release); err != nil && !ownsNothing(err) {
		return err
	}
	return nil
}
