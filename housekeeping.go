package redisstream

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// chores is what the subscriptions of a group do for it at intervals.
func (c SubscriberConfig) chores(group *stream.Group, logger watermill.LoggerAdapter) (chores []subscription.Chore) {
	if c.ConsumerTimeout > 0 {
		chores = append(chores, subscription.Chore{
			What:  "removing consumers that are gone",
			Every: c.ConsumerTimeout / 2,
			Do: func(ctx context.Context) error {
				removed, err := group.RemoveIdle(ctx, c.removable(), c.ConsumerTimeout)
				if len(removed) > 0 {
					logger.Info("consumers whose process is gone were removed from the group",
						watermill.LogFields{"count": len(removed), "consumers": removed})
				}
				return err
			},
		})
	}
	if c.TrimInterval > 0 {
		chores = append(chores, subscription.Chore{
			What:  "trimming the stream",
			Every: c.TrimInterval,
			Do: func(ctx context.Context) error {
				_, err := group.Trim(ctx, c.TrimMinAge, c.TrimMinLen)
				return err
			},
		})
	}
	return chores
}
