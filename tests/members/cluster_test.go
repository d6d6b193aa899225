package members

import (
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In a cluster members share partitions on all masters. They go on when slots move, also that of the
// record of the members.
func TestMembers_slotsMove(t *testing.T) {
	t.Parallel()
	const keys, rounds = 60, 8
	cluster := redistest.StartFullCluster(t)
	client, topic, j := cluster.Client(t), fixture.NewTopic(t), &journal{}
	for member := range 2 {
		config := memberConfig()
		config.Client = client
		subscriber, err := redisstream.NewSubscriber(config, nil)
		require.NoError(t, err)
		j.consumeOn(t, topic, member, subscriber, nil)
	}
	await := func(what string, condition func() bool) {
		require.Eventually(t, condition, 2*fixture.Soon, 20*time.Millisecond, what)
	}
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for round := range rounds {
			publishOn(t, client, topic, keys, 20*round, 20)
		}
	})
	streams := redisstream.PartitionTopics(topic, partitions)
	for _, key := range []string{topic, streams[0], streams[5], streams[11]} {
		cluster.MoveSlot(t, key, cluster.Other(t, key))
	}
	publishing.Wait()
	await("all are handled", func() bool { return j.count() >= 20*rounds*keys })
	assert.Empty(t, j.broken)
	await("both have six", func() bool {
		count := map[string]int{}
		for _, name := range ownersOn(t, client, topic) {
			count[name]++
		}
		return len(count) == partitions // a consumer's name is that of one partition
	})
	publishOn(t, client, topic, keys, 20*rounds, 1)
	await("all are handled", func() bool { return j.count() >= (20*rounds+1)*keys })
	assert.Equal(t, []int{6, 6}, j.shares(2))
}
