package partitions

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublish_keyDecides(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 2, 12, 1024} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
			publisher := open(t, client, partitions)
			want := make([][]string, partitions)
			var batch []*message.Message
			for i := range 200 {
				key := fmt.Sprint("customer-", i%50)
				messages := keyed(key, fmt.Sprint("m-", i), 1)
				partition := redisstream.PartitionOf(key, partitions)
				want[partition] = append(want[partition], messages[0].UUID)
				if i%4 == 0 {
					require.NoError(t, publisher.Publish(topic, append(batch, messages...)...))
					batch = nil
					continue
				}
				batch = append(batch, messages...)
			}
			require.NoError(t, publisher.Publish(topic, batch...))
			got := stored(t, client, topic, partitions)
			for i := range want {
				assert.ElementsMatch(t, want[i], got[i])
				assert.True(t, slices.Equal(want[i], got[i]), "the order of partition %d", i)
			}
			assert.Equal(t, fmt.Sprint("partitions=", partitions), client.Get(t.Context(), topic).Val())
		})
	}
}

// Callers publish at the same time. Each key has one caller, so the order of its messages is known.
func TestPublish_keysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]redis.UniversalClient{
		"one server": redistest.Shared().Client(t), "cluster": redistest.StartMasters(t, [3]time.Duration{}).Client(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for mode, change := range map[string]func(*redisstream.PublisherConfig){
				"plain": func(*redisstream.PublisherConfig) {}, "idempotent": func(c *redisstream.PublisherConfig) { c.Idempotent = true },
				"max age": func(c *redisstream.PublisherConfig) { c.MaxAge = time.Hour },
			} {
				checkOrder(t, client, fixture.NewTopic(t)+mode, change)
			}
		})
	}
}

func checkOrder(t *testing.T, client redis.UniversalClient, topic string, change func(*redisstream.PublisherConfig)) {
	t.Helper()
	const partitions, callers, calls, keys = 12, 16, 30, 5
	publisher := open(t, client, partitions, change)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for call := range calls {
				var messages []*message.Message
				for i := range 2 * keys { // each key twice
					key := fmt.Sprint(caller, "/", i%keys)
					messages = append(messages, keyed(key, fmt.Sprintf("%s/%03d", key, 2*call+i/keys), 1)...)
				}
				assert.NoError(t, publisher.Publish(topic, messages...))
			}
		})
	}
	all.Wait()
	byKey := map[string][]string{}
	for _, list := range stored(t, client, topic, partitions) {
		for _, uuid := range list {
			key := uuid[:len(uuid)-len("/000-0")]
			byKey[key] = append(byKey[key], uuid)
		}
	}
	assert.Len(t, byKey, callers*keys)
	for key, uuids := range byKey {
		assert.True(t, slices.IsSorted(uuids), "%s in %s", key, topic)
		assert.Len(t, slices.Compact(uuids), 2*calls, "%s in %s", key, topic)
	}
}

// A real cluster has a third of the partitions, and of the messages, on each master.
func TestPublish_clusterIsLoadedEvenly(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t)
	for _, partitions := range []int{3, 6, 12} {
		for name, keys := range map[string]bool{"keys": true, "no keys": false} {
			topic := fixture.NewTopic(t) + name
			publisher := open(t, client, partitions)
			var all sync.WaitGroup
			const calls, each = 200, 30
			for caller := range 4 {
				all.Go(func() {
					for call := range calls / 4 {
						messages := fixture.Numbered("m", each)
						for i, msg := range messages {
							if keys {
								msg.Metadata.Set(keyField, fmt.Sprint("customer-", caller, call, i))
							}
						}
						assert.NoError(t, publisher.Publish(topic, messages...))
					}
				})
			}
			all.Wait()
			perMaster, messages := map[string]int{}, map[string]int{}
			for i, length := range lengths(t, client, topic, partitions) {
				master := cluster.Master(t, redisstream.PartitionTopic(topic, i, partitions)).Addr
				perMaster[master]++
				messages[master] += length
			}
			assert.Len(t, perMaster, 3)
			for master, n := range perMaster {
				assert.Equal(t, partitions/3, n)
				assert.InEpsilon(t, calls*each/3, messages[master], 0.1, "%d partitions, %s", partitions, name)
			}
		}
	}
}

// Without keys, an idle Publisher uses all partitions in turn, and a call stays together.
func TestPublish_withoutKeys(t *testing.T) {
	t.Parallel()
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	publisher := open(t, client, 12, func(c *redisstream.PublisherConfig) { c.PartitionKey = nil })
	for call := range 24 {
		require.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint(call), 3)...))
	}
	for _, list := range stored(t, client, topic, 12) {
		require.Len(t, list, 6)
		assert.Equal(t, list[0][:len(list[0])-1], list[2][:len(list[2])-1], "of one call")
	}
}

// Messages without a key avoid a master that hangs.
func TestPublish_withoutKeysTakesTheLeastLoaded(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	for _, partitions := range []int{3, 1024} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			topic := fixture.NewTopic(t)
			hangs := cluster.Master(t, redisstream.PartitionTopic(topic, 0, partitions))
			proxy := redistest.NewProxy(t, hangs.Addr, 0)
			publisher := open(t, cluster.Client(t, detour(hangs, proxy)), partitions)
			require.NoError(t, publisher.Publish(topic, keyed(keyIn(0, partitions), "before", 1)...))
			proxy.Hang()
			t.Cleanup(proxy.Resume)
			stuck := make([]<-chan error, 10) // so many, because few are no sign of trouble
			for i := range stuck {
				stuck[i] = fixture.GoPublish(publisher, topic, keyed(keyIn(0, partitions), fmt.Sprint("stuck", i), 1)...)
			}
			// As soon as the stuck calls are under way, others go to the other masters.
			require.Eventually(t, func() bool { return allQuick(t, publisher, topic, 30) }, fixture.Soon, time.Millisecond)
			proxy.Resume()
			for _, result := range stuck {
				require.NoError(t, redistest.Within(t, "a stuck call", result))
			}
		})
	}
}

// allQuick publishes n messages without a key, one after the other, and reports whether none waits.
func allQuick(t *testing.T, publisher *redisstream.Publisher, topic string, n int) bool {
	t.Helper()
	for range n {
		select {
		case err := <-fixture.GoPublish(publisher, topic, fixture.Numbered("m", 1)...):
			if !assert.NoError(t, err) {
				return false
			}
		case <-time.After(300 * time.Millisecond):
			return false
		}
	}
	return true
}

func TestPublish_keyFunctionPanics(t *testing.T) {
	t.Parallel()
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	var log redistest.Log
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{
		Client: client, Partitions: 3, PartitionKey: func(msg *message.Message) string {
			if msg.UUID == "m-2" {
				panic("no key")
			}
			return "k"
		},
	}, log.Logger())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publisher.Close()) })
	messages := fixture.Numbered("m", 4)
	failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
	assert.Equal(t, messages, failure.Failed)
	for _, part := range []string{`"m-2"`, "message 3 of 4", "no key"} {
		require.ErrorContains(t, failure, part)
	}
	assert.Equal(t, 1, log.Count("PartitionKey panicked"))
	assert.Zero(t, client.Exists(t.Context(), redisstream.PartitionTopics(topic, 3)...).Val(), "nothing was sent")
}

func TestPublish_delayed(t *testing.T) {
	t.Parallel()
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	publisher := open(t, client, 3)
	for partition := range 3 {
		later := keyed(keyIn(partition, 3), fmt.Sprint("later", partition), 1)
		delay.Message(later[0], delay.For(300*time.Millisecond))
		now := keyed(keyIn(partition, 3), fmt.Sprint("now", partition), 1)
		require.NoError(t, publisher.Publish(topic, append(later, now...)...))
		key := redisstream.DelayedKey(redisstream.PartitionTopic(topic, partition, 3))
		assert.EqualValues(t, 1, client.ZCard(t.Context(), key).Val())
	}
	require.Eventually(t, func() bool { return slices.Equal(lengths(t, client, topic, 3), []int{2, 2, 2}) }, fixture.Soon, 5*time.Millisecond)
	assert.Equal(t, []string{"now1-0", "later1-0"}, stored(t, client, topic, 3)[1])
}

// Two copies without a partition key go to the same partition, whatever is under way.
func TestPublish_deduplication(t *testing.T) {
	t.Parallel()
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	for range 2 {
		publisher := open(t, client, 12, func(c *redisstream.PublisherConfig) { c.DeduplicationWindow = time.Hour })
		require.NoError(t, publisher.Publish(topic, fixture.Numbered("m", 40)...))
	}
	for i, list := range stored(t, client, topic, 12) {
		for _, uuid := range list {
			assert.Equal(t, i, redisstream.PartitionOf(uuid, 12))
		}
	}
	total := 0
	for _, n := range lengths(t, client, topic, 12) {
		total += n
	}
	assert.Equal(t, 40, total)
}

// An Idempotent Publisher has a producer on the server for each partition. It uses them again, however many
// partitions there are.
func TestPublish_producersOfManyPartitions(t *testing.T) {
	t.Parallel()
	const partitions = 200
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	publisher := open(t, client, partitions, func(c *redisstream.PublisherConfig) { c.Idempotent = true })
	for call := range 3 {
		var messages []*message.Message
		for partition := range partitions {
			messages = append(messages, keyed(keyIn(partition, partitions), fmt.Sprint(call), 1)...)
		}
		require.NoError(t, publisher.Publish(topic, messages...))
	}
	producers := 0
	keys := client.Scan(t.Context(), 0, topic+":*:producer:*", 1000).Iterator()
	for keys.Next(t.Context()) {
		producers++
	}
	require.NoError(t, keys.Err())
	assert.Equal(t, partitions, producers)
}

func TestPublish_maxLenOfEachPartition(t *testing.T) {
	t.Parallel()
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	publisher := open(t, client, 2, func(c *redisstream.PublisherConfig) { c.MaxLen = 100 })
	for call := range 50 {
		require.NoError(t, publisher.Publish(topic, slices.Concat(
			keyed(keyIn(0, 2), fmt.Sprint("a", call), 20), keyed(keyIn(1, 2), fmt.Sprint("b", call), 20))...))
	}
	for _, n := range lengths(t, client, topic, 2) {
		assert.GreaterOrEqual(t, n, 100)
		assert.LessOrEqual(t, n, 300)
	}
}

// observed records the events of publishing.
type observed struct {
	redisstream.NopObserver

	mu        sync.Mutex
	published []redisstream.PublishEvent
	topics    []string
}

func (o *observed) Published(event redisstream.PublishEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.published = append(o.published, event)
	o.topics = append(o.topics, event.Topic)
}

func (o *observed) PipelineSent(event redisstream.PipelineEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.topics = append(o.topics, event.Topic)
}

// An Observer sees the topic, so the number of partitions does not multiply the metrics.
func TestPublish_observed(t *testing.T) {
	t.Parallel()
	client, topic := redistest.StartMasters(t, [3]time.Duration{}).Client(t), fixture.NewTopic(t)
	observer := new(observed)
	publisher := open(t, client, 3, func(c *redisstream.PublisherConfig) { c.Observer = observer })
	var messages []*message.Message
	for partition := range 3 {
		messages = append(messages, keyed(keyIn(partition, 3), fmt.Sprint(partition), 2)...)
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	require.Len(t, observer.published, 1)
	assert.Equal(t, 6, observer.published[0].Published)
	assert.Greater(t, observer.published[0].Bytes, 6*20)
	assert.Equal(t, slices.Repeat([]string{topic}, 4), observer.topics, "three pipelines and the call")
}
