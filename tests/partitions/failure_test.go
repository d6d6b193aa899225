package partitions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errDown = errors.New("the test refuses connections")

// refusing makes a client of a cluster unable to reach a server while down is true.
func refusing(server *redistest.Server, down *atomic.Bool) func(*redis.ClusterOptions) {
	return func(o *redis.ClusterOptions) {
		o.MaxRedirects, o.DialerRetries, o.PoolFIFO, o.ConnMaxIdleTime = 1, 1, false, time.Nanosecond
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == server.Addr && down.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: errDown}
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
}

// While a master is down, the messages for its partitions fail, and all others are published.
func TestPublish_oneMasterIsDown(t *testing.T) {
	t.Parallel()
	const partitions = 12
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	for name, c := range map[string]struct {
		change func(*redisstream.PublisherConfig)
		ctx    context.Context //nolint:containedctx // of the messages
	}{
		"plain":                     {func(*redisstream.PublisherConfig) {}, context.Background()},
		"contexts that can end":     {func(*redisstream.PublisherConfig) {}, t.Context()},
		"a lane for each partition": {func(c *redisstream.PublisherConfig) { c.MaxAge = time.Hour }, t.Context()},
	} {
		topic := fixture.NewTopic(t) + name
		master := cluster.Master(t, redisstream.PartitionTopic(topic, 5, partitions))
		var down atomic.Bool
		publisher := open(t, cluster.Client(t, refusing(master, &down)), partitions, c.change)
		publish := func(prefix string, ctx context.Context) ([]*message.Message, error) {
			var messages []*message.Message
			for i := range 60 {
				messages = append(messages, keyed(keyIn(i%partitions, partitions), fmt.Sprint(prefix, i), 1)...)
				messages[i].SetContext(ctx)
			}
			return messages, publisher.Publish(topic, messages...)
		}
		_, err := publish("before", c.ctx)
		require.NoError(t, err)

		down.Store(true)
		messages, err := publish("down", c.ctx)
		failure := fixture.AsPublishError(t, err)
		var published, failed []*message.Message
		for i, msg := range messages {
			if cluster.Master(t, redisstream.PartitionTopic(topic, i%partitions, partitions)) == master {
				failed = append(failed, msg)
			} else {
				published = append(published, msg)
			}
		}
		assert.Len(t, failed, 20)
		assert.Equal(t, published, failure.Published, "in the order of the call")
		assert.Equal(t, failed, failure.Failed)
		assert.Empty(t, failure.Uncertain)
		assert.Equal(t, topic, failure.Topic)
		require.ErrorIs(t, err, errDown)

		// With a deadline the others are waited for, and added once.
		ctx, cancel := context.WithTimeout(t.Context(), fixture.Soon)
		defer cancel()
		time.AfterFunc(300*time.Millisecond, func() { down.Store(false) })
		_, err = publish("deadline", ctx)
		require.NoError(t, err)
		for i, list := range stored(t, cluster.Client(t), topic, partitions) {
			var want []string
			for call, prefix := range []string{"before", "down", "deadline"} {
				if call == 1 && cluster.Master(t, redisstream.PartitionTopic(topic, i, partitions)) == master {
					continue
				}
				for n := i; n < 60; n += partitions {
					want = append(want, fmt.Sprint(prefix, n, "-0"))
				}
			}
			assert.Equal(t, want, list, "partition %d", i)
		}
	}
}

// The replies of one master are lost: its messages are uncertain, or sent again by an Idempotent Publisher.
func TestPublish_lostReplies(t *testing.T) {
	t.Parallel()
	const partitions = 3
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	for name, idempotent := range map[string]bool{"plain": false, "idempotent": true} {
		topic := fixture.NewTopic(t) + name
		master := cluster.Master(t, redisstream.PartitionTopic(topic, 1, partitions))
		proxy := redistest.NewProxy(t, master.Addr, 0)
		publisher := open(t, cluster.Client(t, detour(master, proxy)), partitions, func(c *redisstream.PublisherConfig) { c.Idempotent = idempotent })
		require.NoError(t, publisher.Publish(topic, keyed(keyIn(1, partitions), "before", 2)...))
		var lost atomic.Int64
		proxy.OnReply(func(chunk []byte) (int, bool) {
			if (chunk[0] == '$' || chunk[0] == '*') && lost.Add(1) <= 2 {
				return 0, true
			}
			return len(chunk), false
		})
		var messages []*message.Message
		for partition := range partitions {
			messages = append(messages, keyed(keyIn(partition, partitions), fmt.Sprint("m", partition), 3)...)
		}
		err := publisher.Publish(topic, messages...)
		if idempotent {
			require.NoError(t, err)
		} else {
			failure := fixture.AsPublishError(t, err)
			assert.Equal(t, messages[3:6], failure.Uncertain)
			assert.Equal(t, slices.Concat(messages[:3], messages[6:]), failure.Published)
			assert.Empty(t, failure.Failed)
		}
		proxy.OnReply(func(chunk []byte) (int, bool) { return len(chunk), false })
		got := stored(t, cluster.Client(t), topic, partitions)
		assert.Equal(t, [][]string{{"m0-0", "m0-1", "m0-2"}, {"before-0", "before-1", "m1-0", "m1-1", "m1-2"}, {"m2-0", "m2-1", "m2-2"}}, got)
	}
}

// The first call asks for the number of partitions. With a deadline it waits for a server that starts.
func TestPublish_firstCallWaitsForTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t, func(o *redis.Options) { o.DialerRetries = 1 })
	publisher, topic := open(t, client, 3), fixture.NewTopic(t)
	server.Kill()
	messages := fixture.Numbered("m", 2)
	failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
	assert.Equal(t, messages, failure.Failed)
	require.NotErrorIs(t, failure, redisstream.ErrPartitions)
	ctx, cancel := context.WithTimeout(t.Context(), fixture.Soon)
	defer cancel()
	for _, msg := range messages {
		msg.SetContext(ctx)
	}
	result := fixture.GoPublish(publisher, topic, messages...)
	server.Restart(t)
	require.NoError(t, redistest.Within(t, "Publish", result))
	assert.Equal(t, []int{2, 0, 0}, sorted(lengths(t, client, topic, 3)))

	server.Kill()
	other := open(t, client, 3)
	messages = fixture.Numbered("m", 1)
	ended, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer end()
	messages[0].SetContext(ended)
	err := other.Publish(fixture.NewTopic(t)+"other", messages...)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
}

func sorted(list []int) []int {
	slices.SortFunc(list, func(a, b int) int { return b - a })
	return list
}

// A server that hangs does not hold up Close for long, also not while the number of partitions is asked for.
func TestPublisher_closeWhileItAsks(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	proxy.Hang()
	t.Cleanup(proxy.Resume)
	dialled := make(chan struct{}, 100)
	client := redistest.Shared().Client(t, func(o *redis.Options) {
		o.Addr, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = proxy.Addr, time.Second, time.Second, time.Second
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled <- struct{}{}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	publisher, topic := open(t, client, 3), fixture.NewTopic(t)
	messages := fixture.Numbered("m", 1)
	result := fixture.GoPublish(publisher, topic, messages...)
	redistest.Within(t, "the question", dialled)
	began := time.Now()
	require.NoError(t, publisher.Close())
	assert.Less(t, time.Since(began), 5*time.Second)
	err := redistest.Within(t, "Publish", result)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	require.ErrorIs(t, publisher.Publish(topic, messages...), redisstream.ErrPublisherClosed)
}

// Close does not wait until each node of a cluster has been asked in vain.
func TestPublisher_closeWhileItAsksACluster(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	options := &redis.ClusterOptions{DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout}
	dialled := make(chan struct{}, 100)
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled <- struct{}{}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	for range 8 {
		proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
		proxy.Hang()
		t.Cleanup(proxy.Resume)
		options.Addrs = append(options.Addrs, proxy.Addr)
	}
	client := redis.NewClusterClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	publisher, topic := open(t, client, 3), fixture.NewTopic(t)
	messages := fixture.Numbered("m", 1)
	result := fixture.GoPublish(publisher, topic, messages...)
	redistest.Within(t, "the question", dialled)
	began := time.Now()
	require.NoError(t, publisher.Close())
	assert.Less(t, time.Since(began), 4*timeout)
	err := redistest.Within(t, "Publish", result)
	require.ErrorIs(t, err, redisstream.ErrPublisherClosed)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
}

// Close while many publish: each message is in its partition exactly if its call says so.
func TestPublisher_closeWhilePublishing(t *testing.T) {
	t.Parallel()
	const partitions = 12
	client, topic := redistest.StartMasters(t, [3]time.Duration{}).Client(t), fixture.NewTopic(t)
	publisher := open(t, client, partitions)
	var all sync.WaitGroup
	var mu sync.Mutex
	var want []string
	started := make(chan struct{}, 1000)
	for caller := range 16 {
		all.Go(func() {
			for call := 0; ; call++ {
				var messages []*message.Message
				for i := range 10 {
					messages = append(messages, keyed(fmt.Sprint(caller, i), fmt.Sprintf("%d/%d/%d", caller, call, i), 1)...)
				}
				err := publisher.Publish(topic, messages...)
				if err != nil {
					assert.ErrorIs(t, err, redisstream.ErrPublisherClosed)
					assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
					return
				}
				mu.Lock()
				want = append(want, fixture.UUIDs(messages)...)
				mu.Unlock()
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 100 {
		redistest.Within(t, "a call", started)
	}
	require.NoError(t, publisher.Close())
	all.Wait()
	assert.ElementsMatch(t, want, slices.Concat(stored(t, client, topic, partitions)...))
}

// A slot moves while messages are published: they follow it, in order.
func TestPublish_slotMoves(t *testing.T) {
	t.Parallel()
	const partitions = 6
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client, topic := cluster.Client(t), fixture.NewTopic(t)
	publisher := open(t, client, partitions)
	stream := redisstream.PartitionTopic(topic, 2, partitions)
	other := cluster.Other(t, stream)
	done := make(chan struct{})
	var want [partitions][]string
	moved := make(chan struct{})
	go func() {
		defer close(done)
		for call, after := 0, 0; after < 20; call++ {
			select {
			case <-moved:
				after++
			default:
			}
			var messages []*message.Message
			for partition := range partitions {
				messages = append(messages, keyed(keyIn(partition, partitions), fmt.Sprint(call, "/", partition), 2)...)
				want[partition] = append(want[partition], fixture.UUIDs(messages[2*partition:])...)
			}
			if !assert.NoError(t, publisher.Publish(topic, messages...)) {
				return
			}
		}
	}()
	cluster.MoveSlot(t, stream, other)
	close(moved)
	redistest.Within(t, "the calls", done)
	for partition, list := range stored(t, client, topic, partitions) {
		assert.Equal(t, want[partition], list)
	}
}
