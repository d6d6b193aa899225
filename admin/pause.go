package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Pause says who paused a group.
type Pause struct {
	Since  time.Time // by the server's clock
	By     string
	Reason string
}

// Pause makes all subscribers of a group stop reading a topic, in all processes, within 2 s (SET of
// redisstream.PauseKey). Running handlers may finish; entries that no handler has are released. by
// and reason are shown to people. The pause stays until Resume, also when all processes restart. On
// a paused group Pause changes nothing. Members that use another library, or a user without the
// right to read the key, go on reading. The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Pause(ctx context.Context, topic, group, by, reason string) error {
	err := a.onEach(ctx, topic, func(name string) error {
		state, err := a.checkGroup(ctx, name, group)
		if err != nil {
			return err
		}
		return a.repair(name, group).Pause(ctx, stream.PauseRecord{Since: state.Stream.Now, By: by, Reason: reason})
	})
	if err != nil {
		return fmt.Errorf("pause: %w", groupError(topic, group, err))
	}
	return nil
}

// Resume ends a pause (DEL). The members resume within 2 s. Without a pause it does nothing.
func (a *Admin) Resume(ctx context.Context, topic, group string) error {
	err := a.onEach(ctx, topic, func(name string) error { return a.repair(name, group).Resume(ctx) })
	if err != nil {
		return fmt.Errorf("resume: %w", groupError(topic, group, err))
	}
	return nil
}
