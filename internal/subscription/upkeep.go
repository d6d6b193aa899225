package subscription

import (
	"context"
	"slices"
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

// duty is work of the lease keeper.
type duty struct {
	every time.Duration // 0: never
	run   func(context.Context)
	due   time.Time
}

// keepUp renews leases, and logs handlers that have a message for longHold, until ctx ends.
func (s *Subscription) keepUp(ctx context.Context) {
	duties := []duty{
		{every: s.backend.renewEvery(), run: s.backend.renewDue},
		{every: longHoldCheck, run: s.reportLongHeld},
	}
	duties = slices.DeleteFunc(duties, func(d duty) bool { return d.every <= 0 })
	for i := range duties {
		duties[i].due = time.Now().Add(duties[i].every)
	}
	for {
		next := slices.MinFunc(duties, func(a, b duty) int { return a.due.Compare(b.due) })
		if !sleep(ctx, time.Until(next.due)) {
			return
		}
		for i := range duties {
			if d := &duties[i]; time.Until(d.due) <= 0 {
				d.run(ctx)
				d.due = time.Now().Add(d.every)
			}
		}
	}
}

// keepReporting writes the member record until ctx ends. It is a goroutine of its own: a write that
// hangs must not hold up renewals.
func (s *Subscription) keepReporting(ctx context.Context) {
	every := s.backend.reportEvery()
	for more := every > 0; more; more = sleep(ctx, every) {
		s.backend.report(ctx, func(record *stream.MemberRecord) {
			record.Paused, _ = s.pausedBy()
			s.inbox.describe(record)
		})
	}
}

func (s *Subscription) reportLongHeld(context.Context) {
	var held map[string]time.Duration
	s.inbox.leases(func(table *leaseTable) { held = table.longHeld(longHold) })
	for id, duration := range held {
		s.Logger.Info("a handler has had a message for long; it is neither acked nor nacked",
			watermill.LogFields{"entry": id, "held_for": duration.Round(time.Second).String()})
	}
}
