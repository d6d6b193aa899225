package command

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A topic with partitions is one topic, and its partitions have owners.
func TestPartitions(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	subscriber, messages := p.Subscribe(redisstream.SubscriberConfig{
		Client: p.Client, ConsumerGroup: "g", Partitions: 3, ClaimMinIdle: 2 * time.Second, CloseTimeout: 10 * time.Millisecond,
	})
	for range 3 {
		p.do("publish", p.Topic, "coffee", "--key", "customer-1")
	}
	held := fixture.Receive(t, messages)
	name := redisstream.PartitionTopic(p.Topic, redisstream.PartitionOf("customer-1", 3), 3)
	assert.Equal(t, name, fixture.EntryOf(t, held).Stream)

	topics := ask[[]topicView](p, "topics", p.Topic)
	require.Len(t, topics, 1)
	assert.Equal(t, int64(3), topics[0].Length)
	assert.Equal(t, 3, topics[0].Partitions)
	groups := ask[[]groupView](p, "groups", p.Topic)
	require.Len(t, groups, 1)
	assert.Equal(t, int64(3), *groups[0].Lag+groups[0].Pending)
	assert.Equal(t, 1, groups[0].Members)
	p.Eventually("all partitions have an owner", func() bool {
		owned := 0
		for _, partition := range ask[[]partitionView](p, "partitions", p.Topic, "g") {
			if partition.Group != nil && partition.Group.Owner != nil {
				owned++
			}
		}
		return owned == 3
	})
	table := p.do("partitions", p.Topic, "g")
	assert.Regexp(t, `^PARTITION  OWNER .*\n0/3 +\S+ +\d+ +\d`, table)
	assert.Equal(t, 4, strings.Count(table, "\n"))
	p.Eventually("the member has all", func() bool {
		return strings.HasSuffix(p.do("members", p.Topic, "g"), " 3      0-2\n")
	})
	p.run("partitions", p.Topic, "nobody").fails(ExitError, "group")
	held.Nack()
	require.NoError(t, subscriber.Close())
	assert.Empty(t, ask[[]memberView](p, "members", p.Topic, "g"))
}

func TestRanges(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "-", ranges(nil))
	assert.Equal(t, "0-3,7,9-10", ranges([]int{0, 1, 2, 3, 7, 9, 10}))
}
