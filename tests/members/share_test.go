// Package members tests how the members of a group share the partitions of a topic.
package members

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const partitions = 12

// lease is the ClaimMinIdle of the tests.
const lease = 2 * time.Second

func memberConfig() redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.Partitions, config.ClaimMinIdle = partitions, lease
	return config
}

// keyOf is the PartitionKey of the tests: the metadata "key".
func keyOf(msg *message.Message) string { return msg.Metadata.Get("key") }

// publish publishes n messages of each of the keys. Their payloads count from first on within a key.
func publish(b *fixture.Bench, keys, first, n int) {
	b.Helper()
	publishOn(b.T, b.Client, b.Topic, keys, first, n)
}

func publishOn(t *testing.T, client redis.UniversalClient, topic string, keys, first, n int) {
	t.Helper()
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Partitions: partitions, PartitionKey: keyOf})
	var messages []*message.Message
	for i := first; i < first+n; i++ {
		for key := range keys {
			msg := message.NewMessage(watermill.NewUUID(), []byte(strconv.Itoa(i)))
			msg.Metadata.Set("key", strconv.Itoa(key))
			messages = append(messages, msg)
		}
	}
	require.NoError(t, publisher.Publish(topic, messages...))
}

// journal is what handlers have done.
type journal struct {
	mu     sync.Mutex
	lines  []line
	broken []string
	next   map[string]int // by key: the number of the next message

	repeats bool // messages may be handled again
}

type line struct {
	member, partition int
	generation        int64
	key               string
	number            int
	at                time.Time
}

// handled notes a message. Each message of a key must be the one after the last one, or one that is
// repeated.
func (j *journal) handled(member int, msg *message.Message) {
	entry, _ := redisstream.EntryFromContext(msg.Context())
	partition := partitionOf(entry.Stream)
	number, _ := strconv.Atoi(string(msg.Payload))
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next == nil {
		j.next = map[string]int{}
	}
	key := keyOf(msg)
	if number > j.next[key] || number < j.next[key] && !j.repeats {
		j.broken = append(j.broken, fmt.Sprintf("key %s: %d instead of %d", key, number, j.next[key]))
	}
	j.next[key] = max(j.next[key], number+1)
	j.lines = append(j.lines, line{member, partition, entry.Generation, key, number, time.Now()})
}

func partitionOf(stream string) int {
	if _, partition, _, ok := redisstream.ParsePartitionTopic(stream); ok {
		return partition
	}
	return -1
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

// by returns which member handled the last message of each partition.
func (j *journal) by() (owners [partitions]int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		owners[line.partition] = line.member
	}
	return owners
}

// shares returns how many partitions each member handled last.
func (j *journal) shares(members int) []int {
	shares := make([]int, members)
	for _, member := range j.by() {
		shares[member]++
	}
	return shares
}

// consume subscribes, and handles messages until the subscription ends. handle may be nil.
func (j *journal) consume(b *fixture.Bench, member int, config redisstream.SubscriberConfig, handle func(*message.Message)) *redisstream.Subscriber {
	b.Helper()
	return j.consumeOn(b.T, b.Topic, member, b.Subscriber(config), handle)
}

func (j *journal) consumeOn(
	t *testing.T, topic string, member int, subscriber *redisstream.Subscriber, handle func(*message.Message),
) *redisstream.Subscriber {
	t.Helper()
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	var handlers sync.WaitGroup
	t.Cleanup(handlers.Wait)
	t.Cleanup(func() { assert.NoError(t, subscriber.Close()) })
	handlers.Go(func() {
		for msg := range messages {
			if handle != nil {
				handle(msg)
			}
			j.handled(member, msg)
			msg.Ack()
		}
	})
	return subscriber
}

// owners returns the consumer that owns each partition; empty: none.
func owners(b *fixture.Bench) [partitions]string { return ownersOn(b.T, b.Client, b.Topic) }

func ownersOn(t *testing.T, client redis.UniversalClient, topic string) (names [partitions]string) {
	t.Helper()
	for i, stream := range redisstream.PartitionTopics(topic, partitions) {
		names[i] = client.HGet(context.Background(), redisstream.OwnerKey(stream, "g"), "consumer").Val()
	}
	return names
}

// awaitAllOwned waits until each partition has an owner.
func awaitAllOwned(b *fixture.Bench) {
	b.Helper()
	b.Eventually("each partition has an owner", func() bool {
		for _, name := range owners(b) {
			if name == "" {
				return false
			}
		}
		return true
	})
}

// Members share the partitions evenly, whoever joins and leaves. Messages of a key stay in order.
func TestMembers_share(t *testing.T) {
	t.Parallel()
	b, j := fixture.New(t), &journal{}
	end := flow(b)
	first := j.consume(b, 0, memberConfig(), nil)
	shared(b, j, partitions, 0, 0)
	second := j.consume(b, 1, memberConfig(), nil)
	shared(b, j, 6, 6, 0)
	j.consume(b, 2, memberConfig(), nil)
	shared(b, j, 4, 4, 4)
	before := j.by()
	require.NoError(t, second.Close())
	shared(b, j, 6, 0, 6)
	for i, member := range j.by() {
		assert.True(t, before[i] == 1 || before[i] == member, "a partition that need not move")
	}
	require.NoError(t, first.Close())
	shared(b, j, 0, 0, partitions)
	published := end()
	finished(b, j, published)
	assert.Equal(t, flowKeys*published, j.count(), "none is handled twice")
}

// A partition moves when its running message is settled, however long that takes: not before, and
// then within a second. Other partitions do not wait.
//
//nolint:paralleltest // it measures time
func TestMembers_moveWaitsForTheRunningMessage(t *testing.T) {
	b, j := fixture.New(t), &journal{}
	settle := make(chan struct{})
	running := make(chan *message.Message, partitions)
	config := memberConfig()
	config.CloseTimeout = lease // shorter than the handlers take: of no effect
	subscriber, messages := b.Subscribe(config)
	t.Cleanup(func() { _ = subscriber.Close() })
	awaitAllOwned(b)
	publish(b, 100, 0, 2)
	var handlers sync.WaitGroup
	t.Cleanup(handlers.Wait)
	t.Cleanup(func() { _ = subscriber.Close() })
	handlers.Go(func() {
		for msg := range messages { // one of each partition
			handlers.Go(func() {
				select {
				case running <- msg:
					<-settle
				case <-settle:
				}
				j.handled(0, msg)
				msg.Ack()
			})
		}
	})
	for range partitions {
		fixture.EntryOf(t, fixture.Receive(t, running))
	}
	second := 0
	var mu sync.Mutex
	j.consume(b, 1, memberConfig(), func(*message.Message) {
		mu.Lock()
		defer mu.Unlock()
		second++
	})
	b.Eventually("the second one is a member", func() bool {
		return b.Client.HLen(t.Context(), redisstream.PartitionMembersKey(b.Topic, "g")).Val() == 3
	})
	assert.Never(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return second > 0
	}, lease+time.Second, 10*time.Millisecond, "nothing may move")
	settled := time.Now()
	close(settle)
	b.Eventually("six partitions have moved", func() bool { return j.shares(2)[1] == 6 })
	b.Eventually("all are handled", func() bool { return j.count() == 200 })
	assert.Empty(t, j.broken)
	gaps(t, j, settled)
}

// gaps checks that the second member went on with its partitions within a second.
func gaps(t *testing.T, j *journal, settled time.Time) {
	t.Helper()
	seen := map[int]bool{}
	for _, line := range j.lines {
		if line.member == 1 && !seen[line.partition] {
			seen[line.partition] = true
			assert.Less(t, line.at.Sub(settled), time.Second, "partition %d", line.partition)
		}
	}
}

// Without a group a subscription gets the messages of all partitions.
func TestFanout_allPartitions(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := redisstream.SubscriberConfig{Client: b.Client, Partitions: partitions}
	one, two := &journal{}, &journal{}
	subscriber := one.consume(b, 0, config, nil)
	two.consume(b, 0, config, nil)
	publish(b, 100, 0, 10)
	for _, j := range []*journal{one, two} {
		b.Eventually("all are handled", func() bool { return j.count() == 1000 })
		assert.Empty(t, j.broken)
	}
	require.NoError(t, subscriber.Close())
}
