package partitions

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPartitions_anotherNumberFails(t *testing.T) {
	t.Parallel()
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	require.NoError(t, open(t, client, 12).Publish(topic, fixture.Numbered("m", 1)...))
	messages := fixture.Numbered("m", 3)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	messages[0].SetContext(ctx)
	err := open(t, client, 24).Publish(topic, messages...)
	require.ErrorIs(t, err, redisstream.ErrPartitions)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	for _, part := range []string{topic, "has 12", "for 24"} {
		require.ErrorContains(t, err, part)
	}
	assert.Less(t, time.Since(began), fixture.Soon, "it is not waited for until the deadline")
	assert.Zero(t, client.Exists(t.Context(), redisstream.PartitionTopics(topic, 24)...).Val())
}

// Who takes the topic for a stream fails at once, also with a client in another language.
func TestPartitions_withoutPartitionsFails(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	require.NoError(t, open(t, b.Client, 12).Publish(b.Topic, fixture.Numbered("m", 1)...))
	for name, config := range map[string]redisstream.PublisherConfig{
		"plain": {}, "idempotent": {Idempotent: true}, "once": {DeduplicationWindow: time.Minute}, "max age": {MaxAge: time.Hour},
	} {
		config.Client = b.Client
		err := fixture.OpenPublisher(t, config).Publish(b.Topic, fixture.Numbered("m", 2)...)
		require.ErrorIs(t, err, redisstream.ErrPartitions, name)
		require.ErrorContains(t, err, "has 12", name)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		assert.Len(t, fixture.AsPublishError(t, err).Failed, 2)
	}
	for _, config := range []redisstream.SubscriberConfig{fixture.GroupConfig(), {}} {
		subscriber := b.Subscriber(config)
		_, err := subscriber.Subscribe(t.Context(), b.Topic)
		require.ErrorIs(t, err, redisstream.ErrPartitions)
		require.ErrorContains(t, err, "has 12")
	}
	require.ErrorIs(t, b.Subscriber(fixture.GroupConfig()).SubscribeInitialize(b.Topic), redisstream.ErrPartitions)
	require.ErrorContains(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"a", "b"}}).Err(), "WRONGTYPE")
}

func TestPartitions_nameThatIsTaken(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := open(t, client, 12)
	plain, other, list := fixture.NewTopic(t)+"plain", fixture.NewTopic(t)+"other", fixture.NewTopic(t)+"list"
	require.NoError(t, fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(plain, fixture.Numbered("m", 1)...))
	require.NoError(t, client.Set(t.Context(), other, "partitions=many", 0).Err())
	require.NoError(t, client.RPush(t.Context(), list, "a").Err())
	for topic, part := range map[string]string{plain: "has a stream of its own", other: "a string", list: "without partitions"} {
		err := publisher.Publish(topic, fixture.Numbered("m", 1)...)
		require.ErrorIs(t, err, redisstream.ErrPartitions)
		require.ErrorContains(t, err, part)
		require.ErrorIs(t, redisstream.SetPartitions(t.Context(), client, topic, 1, 2), redisstream.ErrPartitions)
	}
	for _, topic := range []string{"{a}b", "a}", "{"} {
		require.ErrorContains(t, publisher.Publish(topic, fixture.Numbered("m", 1)...), "can't have partitions")
	}
}

// The server is asked once, however many calls begin at the same time.
func TestPartitions_areAskedForOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	client, topic := redistest.Shared().Client(t), fixture.NewTopic(t)
	client.AddHook(evals{&asked})
	publisher := open(t, client, 3)
	var all sync.WaitGroup
	for caller := range 20 {
		all.Go(func() {
			for range 5 {
				assert.NoError(t, publisher.Publish(topic, keyed(fmt.Sprint(caller), "m", 3)...))
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, asked.Load())
}

// evals counts EVAL commands.
type evals struct{ count *atomic.Int64 }

func (evals) DialHook(next redis.DialHook) redis.DialHook { return next }

func (e evals) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if command.Name() == "eval" {
			e.count.Add(1)
		}
		return next(ctx, command)
	}
}

func (evals) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestSetPartitions(t *testing.T) {
	t.Parallel()
	client, topic, ctx := redistest.Shared().Client(t), fixture.NewTopic(t), t.Context()
	set := func(from, to int) error { return redisstream.SetPartitions(ctx, client, topic, from, to) }
	require.ErrorContains(t, set(12, 24), "it has none, not 12")
	require.NoError(t, open(t, client, 12).Publish(topic, fixture.Numbered("m", 1)...))
	for _, numbers := range [][2]int{{0, 12}, {12, 0}, {12, 1025}, {-1, 12}} {
		require.ErrorContains(t, set(numbers[0], numbers[1]), "is not from 1 to 1024")
	}
	require.ErrorContains(t, set(13, 24), "it has 12, not 13")
	require.NoError(t, set(12, 12), "nothing is drained")
	require.NoError(t, set(12, 24))
	require.NoError(t, set(12, 24), "again, as after a lost reply")
	assert.Equal(t, "partitions=24 draining=12", client.Get(ctx, topic).Val())
	require.ErrorContains(t, set(24, 48), "12 are still drained")
	require.ErrorIs(t, set(24, 48), redisstream.ErrPartitions)
	require.NoError(t, set(24, 12), "back")
	assert.Equal(t, "partitions=12 draining=24", client.Get(ctx, topic).Val())
	require.NoError(t, set(12, 24))
	require.NoError(t, set(24, 24))
	assert.Equal(t, "partitions=24", client.Get(ctx, topic).Val())
	require.NoError(t, set(24, 48))
}

// The procedure of docs/partitions.md: messages of a key are handled in order across the growth, and
// none is lost.
func TestSetPartitions_growth(t *testing.T) {
	t.Parallel()
	client, topic, ctx := redistest.StartMasters(t, [3]time.Duration{}).Client(t), fixture.NewTopic(t), t.Context()
	const keys, before, after = 20, 3, 6
	publish := func(publisher *redisstream.Publisher, from, to int) error {
		for number := from; number < to; number++ {
			for key := range keys {
				if err := publisher.Publish(topic, keyed(fmt.Sprint(key), fmt.Sprint(number), 1)...); err != nil {
					return err
				}
			}
		}
		return nil
	}
	handled := map[string][]string{}
	drain := func(partitions int) {
		config := fixture.GroupConfig()
		config.Client = client
		subscriber, err := redisstream.NewSubscriber(config, nil)
		require.NoError(t, err)
		for _, stream := range redisstream.PartitionTopics(topic, partitions) {
			messages, err := subscriber.Subscribe(ctx, stream)
			require.NoError(t, err)
			for range client.XLen(ctx, stream).Val() {
				msg := fixture.Receive(t, messages)
				handled[keyOf(msg)] = append(handled[keyOf(msg)], msg.UUID)
				require.True(t, msg.Ack())
			}
		}
		require.NoError(t, subscriber.Close())
		for _, stream := range redisstream.PartitionTopics(topic, partitions) {
			for _, group := range client.XInfoGroups(ctx, stream).Val() {
				assert.Zero(t, group.Lag+group.Pending)
			}
		}
	}
	old := open(t, client, before)
	require.NoError(t, publish(old, 0, 10))
	require.NoError(t, redisstream.SetPartitions(ctx, client, topic, before, after))
	require.NoError(t, publish(old, 10, 20), "what runs goes on")
	require.NoError(t, old.Close())
	require.ErrorIs(t, publish(open(t, client, before), 20, 21), redisstream.ErrPartitions)
	require.NoError(t, publish(open(t, client, after), 20, 30))
	drain(before)
	require.NoError(t, redisstream.SetPartitions(ctx, client, topic, after, after))
	drain(after)
	require.Len(t, handled, keys)
	for key, uuids := range handled {
		for i, uuid := range uuids {
			assert.Equal(t, fmt.Sprintf("%d-0", i), uuid, "of key %s", key)
		}
		assert.Len(t, uuids, 30)
	}
}
