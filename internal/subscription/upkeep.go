package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

const (
	// longHold is how long a handler has a message before that is logged. It is logged again after
	// twice the time, and so on.
	longHold = 5 * time.Minute
	// longHoldCheck is how often such handlers are searched for.
	longHoldCheck = 30 * time.Second
)

// keepUp renews leases, and logs handlers that have a message for longHold, until ctx ends.
func (s *Subscription) keepUp(ctx context.Context) {
	pause := min(longHoldCheck, s.backend.renewEvery())
	for checked := time.Now(); sleep(ctx, pause); {
		s.backend.renewDue(ctx)
		if time.Since(checked) >= longHoldCheck {
			checked = time.Now()
			s.reportLongHeld()
		}
	}
}

func (s *Subscription) reportLongHeld() {
	var held map[string]time.Duration
	s.inbox.leases(func(table *leaseTable) { held = table.longHeld(longHold) })
	for id, duration := range held {
		s.Logger.Info("a handler has had a message for long; it is neither acked nor nacked",
			watermill.LogFields{"entry": id, "held_for": duration.Round(time.Second).String()})
	}
}
