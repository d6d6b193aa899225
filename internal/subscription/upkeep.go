package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// longHold is how long a handler has a message before that is logged. It is logged again after
	// twice the time, and so on.
	longHold = 5 * time.Minute
	// longHoldCheck is how often such handlers are searched for.
	longHoldCheck = 30 * time.Second
)

// leaseKeepers renew leases, and log handlers that have a message for longHold.
func (s *Subscription) leaseKeepers() repeaters {
	return repeaters{
		{every: s.backend.renewEvery(), work: s.backend.renewDue},
		{every: longHoldCheck, work: s.reportLongHeld},
		{every: crewCheck, work: func(context.Context) { s.inbox.dismiss() }},
	}
}

// reporter writes the member record. It is none of the leaseKeepers: a write that hangs must not
// hold up renewals.
func (s *Subscription) reporter() repeaters {
	return repeaters{{every: s.backend.reportEvery(), atOnce: true, work: func(ctx context.Context) {
		s.backend.report(ctx, func(record *stream.MemberRecord) {
			record.Paused, _ = s.pausedBy()
			s.inbox.describe(record)
		})
	}}}
}

func (s *Subscription) reportLongHeld(context.Context) {
	var held map[string]time.Duration
	s.inbox.leases(func(table *leaseTable) { held = table.longHeld(longHold) })
	for id, duration := range held {
		s.Logger.Info("a handler has had a message for long; it is neither acked nor nacked",
			watermill.LogFields{"entry": id, "held_for": duration.Round(time.Second).String()})
	}
}
