package admin

import (
	"context"
	"fmt"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// repair returns what changes a group from outside.
func (a *Admin) repair(topic, group string) *stream.Repair {
	return stream.NewRepair(a.client, topic, group,
		redisstream.RetryQueueKey(topic, group), redisstream.MembersKey(topic, group), redisstream.PauseKey(topic, group))
}

// repairError says what could not be done to which group, and why.
func (a *Admin) repairError(ctx context.Context, doing, topic, group string, err error) error {
	if err == nil {
		return nil
	}
	if stream.IsGroupGone(err) {
		err = ErrNoGroup
		if n, failure := a.client.Exists(ctx, topic).Result(); failure == nil && n == 0 {
			err = ErrNoTopic
		}
	}
	return fmt.Errorf("%s group %q of %q: %w", doing, group, topic, stream.Redact(err))
}
