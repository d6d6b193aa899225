package admin

import (
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// repair returns what changes a group from outside.
func (a *Admin) repair(topic, group string) *stream.Repair {
	return stream.NewRepair(a.client, topic, group,
		redisstream.RetryQueueKey(topic, group), redisstream.MembersKey(topic, group), redisstream.PauseKey(topic, group),
		redisstream.OwnerKey(topic, group))
}
