package partitions

import (
	"context"
	"errors"
	"fmt"
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

const (
	faultPartitions = 12
	callers         = 8
	keysOfACaller   = 6
)

// callersAtWork publish while a test does something to the servers. Each has keys of its own, and
// publishes what failed again until Publish returns nil.
type callersAtWork struct {
	*testing.T
	topic     string
	publisher atomic.Pointer[redisstream.Publisher]
	stopped   atomic.Bool
	all       sync.WaitGroup
	calls     [callers]atomic.Int64        // that returned nil
	published [callers]map[string][]string // by key: the UUIDs
}

func startCallers(t *testing.T, publisher *redisstream.Publisher) *callersAtWork {
	t.Helper()
	c := &callersAtWork{T: t, topic: fixture.NewTopic(t)}
	c.publisher.Store(publisher)
	for caller := range callers {
		c.published[caller] = map[string][]string{}
		c.all.Go(func() { c.run(caller) })
	}
	t.Cleanup(func() {
		c.stopped.Store(true)
		_ = c.publisher.Load().Close() // ends what an Idempotent Publisher sends again
		c.all.Wait()
	})
	return c
}

func (c *callersAtWork) run(caller int) {
	for call := 0; !c.stopped.Load(); call++ {
		var messages []*message.Message
		for i := range 2 * keysOfACaller { // each key twice
			key := fmt.Sprint(caller, "/", i%keysOfACaller)
			messages = append(messages, keyed(key, fmt.Sprintf("%s/%06d", key, 2*call+i/keysOfACaller), 1)...)
		}
		for rest := messages; len(rest) > 0; {
			err := c.publisher.Load().Publish(c.topic, rest...)
			if err == nil {
				break
			}
			var failure *redisstream.PublishError
			if !errors.As(err, &failure) {
				c.Errorf("%T: %v", err, err)
				return
			}
			if c.stopped.Load() {
				return
			}
			rest = slices.Concat(failure.Uncertain, failure.Failed) // on each server in the order of the call
			time.Sleep(10 * time.Millisecond)
		}
		for _, msg := range messages {
			key := keyOf(msg)
			c.published[caller][key] = append(c.published[caller][key], msg.UUID)
		}
		c.calls[caller].Add(1)
	}
}

// awaitProgress waits until each caller has published n more times.
func (c *callersAtWork) awaitProgress(n int64) {
	c.Helper()
	var before [callers]int64
	for i := range before {
		before[i] = c.calls[i].Load()
	}
	require.Eventually(c, func() bool {
		for i := range before {
			if c.calls[i].Load() < before[i]+n {
				return false
			}
		}
		return true
	}, 6*fixture.Soon, time.Millisecond, "each caller publishes")
}

func (c *callersAtWork) stop() {
	c.stopped.Store(true)
	c.all.Wait()
}

// complete stops the callers, and checks that each message is in the stream of its key's partition, after
// the one before it. Messages that were uncertain may be there more than once, unless once is set.
func (c *callersAtWork) complete(client redis.Cmdable, once bool) {
	c.Helper()
	c.stop()
	byKey := map[string][]string{}
	for partition, list := range stored(c.T, client, c.topic, faultPartitions) {
		seen := map[string]bool{}
		for _, uuid := range list {
			key := uuid[:len(uuid)-len("/000000-0")]
			assert.Equal(c, partition, redisstream.PartitionOf(key, faultPartitions))
			if once || !seen[uuid] {
				byKey[key] = append(byKey[key], uuid)
			}
			seen[uuid] = true
		}
	}
	total := 0
	for caller := range callers {
		for key, want := range c.published[caller] {
			got := byKey[key]
			total += len(want)
			require.GreaterOrEqual(c, len(got), len(want), key)
			require.Equal(c, want, got[:len(want)], key)
		}
	}
	assert.GreaterOrEqual(c, total, 2*callers*keysOfACaller)
	c.Logf("%d messages", total)
}

// A replica takes over in order, so that nothing is lost, while callers publish.
func TestPublish_plannedFailover(t *testing.T) {
	t.Parallel()
	for name, idempotent := range map[string]bool{"plain": false, "idempotent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartFullCluster(t)
			client := cluster.Client(t)
			c := startCallers(t, open(t, client, faultPartitions, func(c *redisstream.PublisherConfig) { c.Idempotent = idempotent }))
			c.awaitProgress(20)
			for i := range 2 {
				stream := redisstream.PartitionTopic(c.topic, 4*i, faultPartitions)
				old := cluster.Master(t, stream)
				replica := cluster.Nodes[3+slices.Index(cluster.Nodes, old)]
				require.NoError(t, replica.Client(t).Do(t.Context(), "cluster", "failover").Err())
				cluster.AwaitFailover(t, stream, old)
				c.awaitProgress(20)
			}
			c.complete(client, idempotent)
		})
	}
}

// A master dies. What a replica confirmed is not lost, and callers go on when there is a new master.
func TestPublish_masterDies(t *testing.T) {
	t.Parallel()
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartFullCluster(t)
		client := cluster.Client(t)
		c := startCallers(t, open(t, client, faultPartitions, func(c *redisstream.PublisherConfig) { c.WaitReplicas = 1 }))
		c.awaitProgress(20)
		stream := redisstream.PartitionTopic(c.topic, 5, faultPartitions)
		old := cluster.Master(t, stream)
		old.Kill()
		c.publisher.Store(open(t, client, faultPartitions)) // the new master has no replica
		cluster.AwaitFailover(t, stream, old)
		c.awaitProgress(20)
		c.complete(client, false)
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		set := redistest.StartSentinelSet(t)
		client := fixture.ConnectTo(t, set.URL())
		c := startCallers(t, open(t, client, faultPartitions, func(c *redisstream.PublisherConfig) { c.WaitReplicas = 2 }))
		c.awaitProgress(20)
		old := set.Master(t)
		old.Kill()
		c.publisher.Store(open(t, client, faultPartitions))
		set.AwaitFailover(t, old)
		c.awaitProgress(20)
		c.complete(client, false)
	})
}

// Slots move, step by step, while callers publish.
func TestPublish_slotsMoveWhileManyPublish(t *testing.T) {
	t.Parallel()
	for name, idempotent := range map[string]bool{"plain": false, "idempotent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartMasters(t, [3]time.Duration{})
			client := cluster.Client(t)
			c := startCallers(t, open(t, client, faultPartitions, func(c *redisstream.PublisherConfig) { c.Idempotent = idempotent }))
			c.awaitProgress(20)
			for _, partition := range []int{1, 7} {
				stream := redisstream.PartitionTopic(c.topic, partition, faultPartitions)
				move := cluster.BeginMove(t, stream, cluster.Other(t, stream))
				if !idempotent { // see TestPublish_idempotentWhileASlotMoves
					c.awaitProgress(20)
				}
				move.Keys()
				if !idempotent {
					c.awaitProgress(20) // while the server redirects with ASK
				}
				move.End()
				c.awaitProgress(20)
			}
			c.complete(client, idempotent)
		})
	}
}

// While a slot moves, an Idempotent Publisher goes on with the producers that are on the server. A new one needs
// a key that is not there: Redis refuses its script (TRYAGAIN) until the move has ended, and nothing is added.
func TestPublish_idempotentWhileASlotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	topic := fixture.NewTopic(t)
	var publishers [3]*redisstream.Publisher
	for i := range publishers {
		publishers[i] = open(t, cluster.Client(t), faultPartitions, func(c *redisstream.PublisherConfig) { c.Idempotent = true })
	}
	known, key := publishers[0], keyIn(1, faultPartitions)
	publish := func(publisher *redisstream.Publisher, prefix string, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		messages := keyed(key, prefix, 1)
		messages[0].SetContext(ctx)
		return publisher.Publish(topic, messages...)
	}
	refused := func(publisher *redisstream.Publisher) {
		t.Helper()
		err := publish(publisher, "refused", time.Second)
		require.ErrorContains(t, err, "TRYAGAIN")
		assert.Len(t, fixture.AsPublishError(t, err).Failed, 1)
	}
	require.NoError(t, publish(known, "before", fixture.Soon))
	stream := redisstream.PartitionTopic(topic, 1, faultPartitions)
	move := cluster.BeginMove(t, stream, cluster.Other(t, stream))
	require.NoError(t, publish(known, "begun", fixture.Soon))
	refused(publishers[1])
	move.Keys()
	require.NoError(t, publish(known, "moved", fixture.Soon))
	refused(publishers[2])
	waits := make(chan error, 1)
	go func() { waits <- publish(publishers[2], "waits", fixture.Soon) }()
	move.End()
	require.NoError(t, redistest.Within(t, "Publish", waits))
	assert.Equal(t, []string{"before-0", "begun-0", "moved-0", "waits-0"}, fixture.StoredUUIDs(t, cluster.Client(t), stream))
}

// On a Ring partitions are on the servers that its hash names.
func TestPublish_ring(t *testing.T) {
	t.Parallel()
	one, other := redistest.Shared(), redistest.Start(t)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": one.Addr, "other": other.Addr}})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	c := startCallers(t, open(t, ring, faultPartitions))
	c.awaitProgress(30)
	c.complete(ring, true)
	for _, server := range []*redistest.Server{one, other} {
		found := 0
		for _, stream := range redisstream.PartitionTopics(c.topic, faultPartitions) {
			found += int(server.Client(t).Exists(t.Context(), stream).Val())
		}
		assert.Positive(t, found)
	}
}

// One master hangs. Messages for the others are published meanwhile, and those without a key pass it over.
func TestPublish_oneMasterHangs(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	topic := fixture.NewTopic(t)
	hung := cluster.Master(t, redisstream.PartitionTopic(topic, 0, faultPartitions))
	proxy := redistest.NewProxy(t, hung.Addr, 0)
	patient := func(o *redis.ClusterOptions) { o.ReadTimeout, o.WriteTimeout = time.Minute, time.Minute }
	publisher := open(t, cluster.Client(t, detour(hung, proxy), patient), faultPartitions)
	var here, elsewhere []int
	for partition, stream := range redisstream.PartitionTopics(topic, faultPartitions) {
		if cluster.Master(t, stream) == hung {
			here = append(here, partition)
		} else {
			elsewhere = append(elsewhere, partition)
		}
		require.NoError(t, publisher.Publish(topic, keyed(keyIn(partition, faultPartitions), "before", 1)...))
	}
	require.Len(t, here, faultPartitions/3)
	proxy.Hang()
	t.Cleanup(proxy.Resume) // before the Publisher is closed
	var waiting []<-chan error
	for _, partition := range here {
		waiting = append(waiting, fixture.GoPublish(publisher, topic, keyed(keyIn(partition, faultPartitions), "waits", 2)...))
	}
	for i := range 50 {
		for _, partition := range elsewhere {
			result := fixture.GoPublish(publisher, topic, keyed(keyIn(partition, faultPartitions), fmt.Sprint("other", i), 1)...)
			require.NoError(t, redistest.Within(t, "Publish to another master", result))
		}
	}
	// Calls without a key take turns. Some get the server that hangs, until they are so many that it is passed over.
	const freeCallers, calls = 30, 500
	var all sync.WaitGroup
	var published atomic.Int64
	enough := make(chan struct{})
	for caller := range freeCallers {
		all.Go(func() {
			for call := 0; published.Load() < calls; call++ {
				assert.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint("free", caller, "/", call), 1)...))
				if published.Add(1) == calls {
					close(enough)
				}
			}
		})
	}
	redistest.Within(t, "calls without a key", enough)
	for _, result := range waiting {
		assert.Empty(t, result)
	}
	proxy.Resume()
	all.Wait()
	for _, result := range waiting {
		require.NoError(t, redistest.Within(t, "Publish to the server that hung", result))
	}
	for partition, list := range stored(t, cluster.Client(t), topic, faultPartitions) {
		list = slices.DeleteFunc(list, func(uuid string) bool { return uuid[0] == 'f' })
		if slices.Contains(here, partition) {
			assert.Equal(t, []string{"before-0", "waits-0", "waits-1"}, list)
		} else {
			assert.Len(t, list, 51)
		}
	}
}

// Close while a lane waits for a server that hangs: it ends within the time-outs, and each call says what
// became of its messages.
func TestPublisher_closeWhileALaneWaits(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	topic := fixture.NewTopic(t)
	hung := cluster.Master(t, redisstream.PartitionTopic(topic, 0, faultPartitions))
	client := cluster.Client(t, func(o *redis.ClusterOptions) { o.ReadTimeout, o.WriteTimeout, o.MaxRedirects = timeout, timeout, -1 })
	publisher := open(t, client, faultPartitions)
	require.NoError(t, publisher.Publish(topic, keyed("a", "before", 1)...))
	hung.Pause()
	t.Cleanup(hung.Resume)
	type outcome struct {
		messages []*message.Message
		err      error
	}
	outcomes := make(chan outcome, 64)
	var begun sync.WaitGroup
	for caller := range 64 {
		begun.Add(1)
		go func() {
			var messages []*message.Message
			for partition := range faultPartitions {
				messages = append(messages, keyed(keyIn(partition, faultPartitions), fmt.Sprint(caller, "/", partition), 1)...)
			}
			begun.Done()
			outcomes <- outcome{messages, publisher.Publish(topic, messages...)}
		}()
	}
	begun.Wait()
	began := time.Now()
	require.NoError(t, publisher.Close())
	assert.Less(t, time.Since(began), 10*timeout, "about twice the time-outs, on a busy machine")
	want, uncertain := []string{"before-0"}, map[string]bool{}
	for range 64 {
		o := redistest.Within(t, "Publish", outcomes)
		if o.err == nil {
			want = append(want, fixture.UUIDs(o.messages)...)
			continue
		}
		failure := fixture.AsPublishError(t, o.err)
		assert.Len(t, slices.Concat(failure.Published, failure.Failed, failure.Uncertain), faultPartitions)
		want = append(want, fixture.UUIDs(failure.Published)...)
		for _, uuid := range fixture.UUIDs(failure.Uncertain) {
			uncertain[uuid] = true
		}
	}
	hung.Resume()
	cluster.AwaitReady(t)
	got := slices.Concat(stored(t, cluster.Client(t), topic, faultPartitions)...)
	got = slices.DeleteFunc(got, func(uuid string) bool { return uncertain[uuid] })
	assert.ElementsMatch(t, want, got)
}
