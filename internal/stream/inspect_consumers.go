package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// consumersPage is how many consumers are described in one step.
const consumersPage = 250

// ConsumerState is the state of a consumer.
type ConsumerState struct {
	Name    string
	Pending int64
	Idle    time.Duration
	Record  *MemberRecord // its member record; nil: none
}

// GroupConsumers are the consumers of a group.
type GroupConsumers struct {
	Now       time.Time // by the server's clock
	Consumers []ConsumerState
	Err       error
}

// consumerTime is how long the server takes to describe a consumer.
const consumerTime = 5 * time.Microsecond

// Consumers returns the consumers of a group. Those that only mark something are left out. A group
// that does not exist has none.
func (i *Inspection) Consumers(ctx context.Context, group string) (GroupConsumers, error) {
	c := consumersOf(ctx, i.client, []groupRef{{i, group, consumersPage, 0}})[0]
	return c, c.Err
}

// consumersOf is Consumers for many groups.
func consumersOf(ctx context.Context, client redis.UniversalClient, groups []groupRef) []GroupConsumers {
	replies := make([]GroupConsumers, len(groups))
	next := func(n, page int) call {
		g := groups[n]
		keys := []string{g.keys.Stream}
		if g.keys.MembersOfGroups != "" {
			keys = append(keys, g.keys.MembersOfGroups+g.group)
		}
		took := consumerTime * time.Duration(3+min(g.consumers, consumersPage))
		return call{inspectConsumersScript, keys, []any{g.group, page * consumersPage, consumersPage}, took}
	}
	runPages(ctx, client, len(groups), next, func(n int, reply *redis.Cmd) bool { return replies[n].add(reply) })
	return replies
}

// add adds a page, and reports whether another one follows.
func (c *GroupConsumers) add(reply *redis.Cmd) bool {
	list, err := reply.Slice()
	if err != nil {
		if !IsGroupGone(err) {
			c.Err = err
		}
		return false
	}
	r := row(list)
	c.Now = r.now()
	c.Consumers = append(c.Consumers, consumerStates(r.list(2))...)
	return r.number(1) > 0
}

func consumerStates(page row) (consumers []ConsumerState) {
	for n := range page {
		r := page.list(n)
		if r.text(0) == Recreated {
			continue
		}
		consumers = append(consumers, ConsumerState{
			Name: r.text(0), Pending: r.number(1), Idle: r.duration(2), Record: memberRecordOf(r.text(3)),
		})
	}
	return consumers
}

// memberRecordOf returns the record that a text has; nil: none that can be read.
func memberRecordOf(text string) *MemberRecord {
	record, err := ParseMemberRecord(text)
	if err != nil {
		return nil
	}
	return &record
}
