package subscription

import (
	"context"
	"math/rand/v2"
	"time"
)

// Chore is what a subscription does for its stream at intervals, beside delivering.
type Chore struct {
	What  string // for the log: "trimming the stream"
	Every time.Duration
	Do    func(context.Context) error
}

// keepDoing does a chore until ctx ends. The subscriptions of a group drift apart.
func (s *Subscription) keepDoing(ctx context.Context, chore Chore) {
	trouble := outage{what: chore.What, logger: s.Logger}
	for sleep(ctx, chore.Every-rand.N(chore.Every/4+1)) {
		err := chore.Do(ctx)
		switch {
		case hasEnded(ctx):
			return
		case err != nil:
			trouble.failed(err) // the next turn is soon enough
		default:
			trouble.over()
		}
	}
}
