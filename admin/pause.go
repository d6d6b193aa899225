package admin

import (
	"context"
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
// redisstream.PauseKey). Handlers that run may finish; what no handler has is released. by and reason
// are for people. It stays until Resume, also when all processes restart. A group that is paused stays
// as it is. Members that use another library, or a user without the right to read the key, go on. The
// error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Pause(ctx context.Context, topic, group, by, reason string) error {
	repair := a.repair(topic, group)
	position, err := repair.Position(ctx)
	if err == nil {
		err = repair.Pause(ctx, stream.PauseRecord{Since: position.Now, By: by, Reason: reason})
	}
	return a.repairError(ctx, "pause", topic, group, err)
}

// Resume ends a pause (DEL). The members go on within 2 s. Without a pause it does nothing.
func (a *Admin) Resume(ctx context.Context, topic, group string) error {
	return a.repairError(ctx, "resume", topic, group, a.repair(topic, group).Resume(ctx))
}
