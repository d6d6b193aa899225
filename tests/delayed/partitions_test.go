package delayed

import (
	"context"
	"net"
	"slices"
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
	fixture.OnServers(t, func(t *testing.T, client redis.UniversalClient) { //nolint:thelper // it is the test
		ctx := t.Context()
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

		makeDue(t, client, redisstream.PartitionTopics("orders", 3))
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

// makeDue makes the delayed messages of streams due, as time does.
func makeDue(t *testing.T, client redis.UniversalClient, names []string) {
	t.Helper()
	for _, name := range names {
		for _, member := range client.ZRange(t.Context(), redisstream.DelayedKey(name), 0, -1).Val() {
			require.NoError(t, client.ZAdd(t.Context(), redisstream.DelayedKey(name), redis.Z{Score: 1, Member: member}).Err())
		}
	}
}

// A master that hangs holds up a Scheduler for one time-out, and not for one of each of its partitions.
func TestPartitions_schedulerWhileAMasterHangs(t *testing.T) {
	t.Parallel()
	const partitions = 60
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	topic := fixture.NewTopic(t)
	client := cluster.Client(t)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Partitions: partitions}, nil)
	require.NoError(t, err)
	for range partitions {
		require.NoError(t, publisher.Publish(topic, delayed("a", time.Hour)))
	}
	require.NoError(t, publisher.Close())
	names := redisstream.PartitionTopics(topic, partitions)
	makeDue(t, client, names)
	seed, hung := cluster.Master(t, topic), cluster.Other(t, topic) // one has the number of partitions
	elsewhere := slices.DeleteFunc(names, func(name string) bool { return cluster.Master(t, name) == hung })
	proxy := redistest.NewProxy(t, hung.Addr, 0)
	proxy.Hang()
	t.Cleanup(proxy.Resume)
	const timeout = 300 * time.Millisecond
	impatient := func(o *redis.ClusterOptions) {
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.MaxRedirects = timeout, timeout, timeout, -1
		o.Addrs = []string{seed.Addr}
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == hung.Addr {
				addr = proxy.Addr
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
	scheduler, err := redisstream.NewScheduler(redisstream.SchedulerConfig{
		Client: cluster.Client(t, impatient), Topics: []string{topic}, Interval: 10 * time.Millisecond,
	}, nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- scheduler.Run(ctx) }()
	assert.Len(t, elsewhere, partitions*2/3)
	for _, name := range elsewhere {
		require.Eventually(t, func() bool { return client.XLen(t.Context(), name).Val() == 1 }, fixture.Soon, time.Millisecond)
	}
	stop()
	require.NoError(t, redistest.Within(t, "the end", ended))
}
