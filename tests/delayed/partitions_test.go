package delayed

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The functions for delayed messages, and a Scheduler, work on all partitions of a topic.
func TestPartitions(t *testing.T) {
	t.Parallel()
	for server, client := range map[string]func() redis.UniversalClient{
		"one server": func() redis.UniversalClient { return redistest.Start(t).Client(t) },
		"cluster":    func() redis.UniversalClient { return redistest.StartFullCluster(t).Client(t) },
	} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			ctx, client := t.Context(), client()
			publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Partitions: 3}, nil)
			require.NoError(t, err)
			uuids := []string{"a", "b", "c", "d", "e", "f"}
			for i := range uuids {
				uuid := uuids[len(uuids)-1-i] // one call for each: they go to different partitions
				require.NoError(t, publisher.Publish("orders", delayed(uuid, time.Hour-time.Duration(i)*time.Minute)))
			}
			require.NoError(t, publisher.Close())
			var got []string
			streams := make(map[string]bool)
			for msg, err := range redisstream.DelayedMessages(ctx, client, "orders") {
				require.NoError(t, err)
				got = append(got, uuidOf(msg))
				streams[msg.Stream] = true
			}
			assert.Equal(t, uuids, got)
			assert.Len(t, streams, 3)
			with := func(uuid string) func(redisstream.DelayedMessage) bool {
				return func(msg redisstream.DelayedMessage) bool { return uuidOf(msg) == uuid }
			}
			n, err := redisstream.DropDelayedMessages(ctx, client, "orders", with("b"))
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			n, err = redisstream.DeliverDelayedMessages(ctx, client, "orders", with("c"))
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			assert.EqualValues(t, 1, inPartitions(t, client))

			for _, name := range redisstream.PartitionTopics("orders", 3) { // all are due
				for _, member := range client.ZRange(ctx, redisstream.DelayedKey(name), 0, -1).Val() {
					require.NoError(t, client.ZAdd(ctx, redisstream.DelayedKey(name), redis.Z{Score: 1, Member: member}).Err())
				}
			}
			scheduler, err := redisstream.NewScheduler(redisstream.SchedulerConfig{
				Client: client, Topics: []string{"orders"}, Interval: 10 * time.Millisecond,
			}, nil)
			require.NoError(t, err)
			ctx, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- scheduler.Run(ctx) }()
			require.Eventually(t, func() bool { return inPartitions(t, client) == 5 }, fixture.Soon, time.Millisecond)
			stop()
			require.NoError(t, redistest.Within(t, "the end", ended))
		})
	}
}

// inPartitions returns how many messages the partitions have.
func inPartitions(t *testing.T, client redis.UniversalClient) (n int64) {
	t.Helper()
	for _, name := range redisstream.PartitionTopics("orders", 3) {
		length, err := client.XLen(context.Background(), name).Result()
		require.NoError(t, err)
		n += length
	}
	return n
}
