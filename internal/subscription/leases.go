package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	errLost    = errors.New("the lease ended: the entry was claimed or acknowledged by another consumer")
	errTrimmed = errors.New("the entry is no longer in the stream")
)

const (
	// longestOffer is how long an offer stands before the lease is checked again.
	longestOffer = time.Second
	// leaseRetry is the pause after a renewal that failed.
	leaseRetry = 50 * time.Millisecond
)

// leases protects the entries of this subscription from other consumers.
type leases interface {
	// countDelivery tells the server that the entry is about to be delivered, so that the count
	// outlives this process.
	countDelivery(e *entry, delivery int64)
	// ensureLease reports whether the entry is still ours.
	ensureLease(ctx context.Context, e *entry, delivery int64) bool
	// confirmLease checks a lease that may have ended before the handler received the message: the
	// process was stopped, and the handler woke first. If the lease is lost, the message's context
	// ends.
	confirmLease(e *entry, delivery int64)
	// offerTime is how long an offer may stand until ensureLease is called again.
	offerTime() time.Duration
	// renewDue renews old leases. It is called each renewEvery; 0: never.
	renewDue(ctx context.Context)
	renewEvery() time.Duration
}

// noLeases is for entries that no other consumer can get.
type noLeases struct{}

func (noLeases) countDelivery(*entry, int64)                             {}
func (noLeases) ensureLease(ctx context.Context, _ *entry, _ int64) bool { return ctx.Err() == nil }
func (noLeases) confirmLease(*entry, int64)                              {}
func (noLeases) offerTime() time.Duration                                { return longestOffer }
func (noLeases) renewDue(context.Context)                                {}
func (noLeases) renewEvery() time.Duration                               { return 0 }

// leaseRenewal keeps leases by resetting the entries' idle times (renew_leases.lua).
type leaseRenewal struct {
	renewLeases func(ctx context.Context, leases []stream.Lease) (lost, trimmed []string, err error)
	minIdle     time.Duration // how long a lease lasts
	inbox       *inbox
	logger      watermill.LoggerAdapter
	closing     <-chan struct{}
	background  context.Context //nolint:containedctx // outlives the messages' contexts
	trouble     outage.Outage   // of renewDue
	observer    Observer        // nil: none
	// owned is how much is left of the lease of the stream, by our clock. It lasts longer than those
	// of the entries if consumers are not exclusive.
	owned func() time.Duration
}

func newLeaseRenewal(s *Subscription, m Membership) *leaseRenewal {
	return &leaseRenewal{
		renewLeases: m.Stream.RenewLeases, minIdle: m.ClaimMinIdle, inbox: s.inbox, logger: s.Logger, closing: s.closing,
		background: context.WithoutCancel(s.messages), trouble: outage.Outage{What: "renewing leases", Logger: s.Logger}, observer: s.Observer,
		owned: func() time.Duration { return m.ClaimMinIdle },
	}
}

func (l *leaseRenewal) countDelivery(e *entry, delivery int64) {
	if delivery > e.Counted {
		// This ends the message's context if the entry is lost. The next renewal tries again.
		_ = l.renewOne(e, delivery)
	}
}

// ensureLease renews a lease if more than half of it is over: the entry came over a slow link, or
// renewals fail, and renewDue could be too late. If the lease may have ended, it tries until the
// server answers.
func (l *leaseRenewal) ensureLease(ctx context.Context, e *entry, delivery int64) bool {
	for l.age(e) > l.minIdle/2 {
		if l.renewOne(e, delivery) == nil || !l.mayHaveEnded(e) {
			break
		}
		select {
		case <-time.After(leaseRetry):
		case <-l.closing:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

func (l *leaseRenewal) confirmLease(e *entry, delivery int64) {
	if l.mayHaveEnded(e) {
		// This ends the message's context if the entry is lost. The next renewal tries again.
		_ = l.renewOne(e, delivery)
	}
}

// mayHaveEnded uses the local clock.
func (l *leaseRenewal) mayHaveEnded(e *entry) bool { return l.age(e) >= l.minIdle }

// age is how old the lease of an entry is, or that of the stream if it is older.
func (l *leaseRenewal) age(e *entry) time.Duration {
	return max(time.Since(l.inbox.leasedAt(e)), l.minIdle-l.owned())
}

func (l *leaseRenewal) offerTime() time.Duration { return min(longestOffer, l.minIdle/4) }

// renewEvery leaves time for a second try before a lease ends.
func (l *leaseRenewal) renewEvery() time.Duration { return l.minIdle / 6 }

// renewDue renews the leases of entries that are held longer than a third of ClaimMinIdle. Fast
// handlers never hold entries that long. A failure is retried at the next call: half of
// ClaimMinIdle is left then.
func (l *leaseRenewal) renewDue(ctx context.Context) {
	var due []stream.Lease
	l.inbox.leases(func(table *leaseTable) {
		due = table.due(time.Now().Add(-l.minIdle / 3))
		table.renewing = len(due) > 0
	})
	defer l.inbox.renewed()
	for len(due) > 0 {
		n := min(len(due), maxAhead)
		if err := l.renew(ctx, due[:n]); err != nil {
			if ctx.Err() == nil {
				l.trouble.Failed(err)
			}
			return
		}
		l.trouble.Over()
		due = due[n:]
	}
}

// renewOne renews one lease, and tells the server how often the entry was delivered.
func (l *leaseRenewal) renewOne(e *entry, delivery int64) error {
	return l.renew(l.background, []stream.Lease{{ID: e.ID, Deliveries: delivery}})
}

// renew renews leases. The contexts of messages whose lease is lost end.
func (l *leaseRenewal) renew(ctx context.Context, leases []stream.Lease) error {
	began := time.Now()
	lost, trimmed, err := l.renewLeases(ctx, leases)
	if err != nil {
		return err
	}
	var taken, trimmedNow []string
	l.inbox.leases(func(table *leaseTable) {
		taken, trimmedNow = table.renewed(leases, began, lost, trimmed)
		table.endPauses(lost)
	})
	if len(taken) > 0 {
		l.logger.Error("entries lost while they were held", errLost, watermill.LogFields{countField: len(taken), "entries": taken})
		if l.observer != nil {
			l.observer.LeasesLost(len(taken))
		}
	}
	if len(trimmedNow) > 0 {
		l.logger.Error("entries were trimmed from the stream while they were held", errTrimmed, someOf(trimmedNow))
	}
	return nil
}
