package command

import (
	"fmt"
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

// Dead letters of two partitions may have the same ID. One is never taken for the other.
func TestDead_sameIDInPartitions(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.Do("SET", p.Topic, "partitions=3")
	names := redisstream.PartitionTopics(p.Topic, 3)
	for i, name := range names[:2] {
		p.AddDeadLetterAs(name, "5-0", fmt.Sprint("same", i))
	}
	p.AddDeadLetterAs(names[2], "6-0", "other")
	left := func() (left []int64) {
		for _, name := range names {
			left = append(left, p.Client.XLen(t.Context(), redisstream.DeadLetterTopic(name)).Val())
		}
		return left
	}
	shown := ask[[]letterView](p, "dead", "show", p.Topic, "5-0", "6-0")
	require.Len(t, shown, 3, "both, and the one after them")
	assert.ElementsMatch(t, names, []string{shown[0].Topic, shown[1].Topic, shown[2].Topic})

	for _, ids := range [][]string{{"5-0"}, {"6-0", "5-0"}} {
		p.run(append([]string{"dead", "drop", p.Topic, "--yes"}, ids...)...).fails(ExitError, "several partitions have an entry with that ID")
	}
	assert.Equal(t, []int64{1, 1, 1}, left(), "nothing was changed")
	assert.Equal(t, 1, ask[outcomeView](p, "dead", "drop", p.Topic, "--yes", "--where", `reason == "because of same1"`).Count)
	assert.Equal(t, []int64{1, 0, 1}, left(), "only the one that was found")
	p.AddDeadLetterAs(names[1], "6-0", "other")
	p.do("dead", "drop", names[1], "6-0", "--yes")
	assert.Equal(t, []int64{1, 0, 1}, left(), "the name of the partition decides")
	p.do("dead", "drop", p.Topic, "5-0", "6-0", "--yes")
	assert.Equal(t, []int64{0, 0, 0}, left())
}

func TestRanges(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "-", ranges(nil))
	assert.Equal(t, "0-3,7,9-10", ranges([]int{0, 1, 2, 3, 7, 9, 10}))
}
