package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNack_redeliversTheWholeMessage(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	type key struct{}
	subscriber := b.Subscriber(fixture.GroupConfig())
	messages, err := subscriber.Subscribe(context.WithValue(t.Context(), key{}, "value"), b.Topic)
	require.NoError(t, err)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
	require.NoError(t, err)
	msg := message.NewMessage("uuid", []byte("payload"))
	msg.Metadata.Set("k", "v")
	require.NoError(t, publisher.Publish(b.Topic, msg))

	first := fixture.Receive(t, messages)
	entry := fixture.EntryOf(t, first)
	assert.Equal(t, b.Topic, entry.Stream)
	assert.Equal(t, "g", entry.Group)
	assert.NotEmpty(t, entry.Consumer)
	assert.EqualValues(t, 1, entry.Deliveries)
	first.Payload[0] = 'X' // handlers may change the payload
	first.Metadata.Set("k", "changed")
	first.Nack()
	fixture.WaitDone(t, first.Context().Done(), "the context ends with the nack")

	second := fixture.Receive(t, messages)
	assert.Equal(t, "uuid", second.UUID)
	assert.Equal(t, "payload", string(second.Payload))
	assert.Equal(t, message.Metadata{"k": "v"}, second.Metadata)
	assert.Equal(t, "value", second.Context().Value(key{}))
	assert.NoError(t, second.Context().Err())
	again := fixture.EntryOf(t, second)
	assert.Equal(t, entry.ID, again.ID)
	assert.EqualValues(t, 2, again.Deliveries)
	rows, err := b.Client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: b.Topic, Group: "g", Start: "-", End: "+", Count: 1}).Result()
	require.NoError(t, err)
	assert.EqualValues(t, 2, rows[0].RetryCount, "the server counts both deliveries")
	second.Ack()
	fixture.WaitDone(t, second.Context().Done(), "the context ends with the ack")
}

func TestMaxInFlight(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.MaxInFlight = 8
	_, messages := b.Subscribe(config)
	b.Publish(100)
	var held []*message.Message
	for range 8 {
		held = append(held, fixture.Receive(t, messages))
	}
	fixture.NothingComes(t, messages, 50*time.Millisecond)
	held[3].Nack() // frees the worker; the message is redelivered after its backoff
	seen := map[string]bool{string(held[3].Payload): false}
	for !seen[string(held[3].Payload)] {
		msg := fixture.Receive(t, messages)
		seen[string(msg.Payload)] = true
		msg.Ack()
	}
	for i, msg := range held {
		if i != 3 {
			seen[string(msg.Payload)] = true
			msg.Ack()
		}
	}
	for len(seen) < 100 {
		msg := fixture.Receive(t, messages)
		seen[string(msg.Payload)] = true
		msg.Ack()
	}
	b.Eventually("all acknowledged", func() bool { return b.Pending() == 0 })
}

func TestAutoAck_deliversAtMostOnce(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.AutoAck = true
	subscriber, messages := b.Subscribe(config)
	b.Publish(100)
	msg := fixture.Receive(t, messages)
	assert.Zero(t, b.Pending())
	msg.Nack() // redelivered from memory
	assert.Equal(t, fixture.Payloads(100), fixture.ReceiveAll(t, messages, 100))
	require.NoError(t, subscriber.Close())
	consumers, err := b.Client.XInfoConsumers(t.Context(), b.Topic, "g").Result()
	require.NoError(t, err)
	assert.Empty(t, consumers)
}

func TestSubscribe_wrongType(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	require.NoError(t, b.Client.Set(t.Context(), b.Topic, "no stream", 0).Err())
	for _, config := range []redisstream.SubscriberConfig{fixture.GroupConfig(), {}} {
		_, err := b.Subscriber(config).Subscribe(t.Context(), b.Topic)
		require.ErrorContains(t, err, b.Topic)
		require.ErrorContains(t, err, "WRONGTYPE")
	}
	_, err := b.Subscriber(fixture.GroupConfig()).Subscribe(t.Context(), "")
	require.ErrorContains(t, err, "topic is empty")
}

func TestSubscribeInitialize(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.StartID = "$"
	subscriber := b.Subscriber(config)
	require.NoError(t, subscriber.SubscribeInitialize(b.Topic))
	b.Publish(3)
	require.NoError(t, subscriber.SubscribeInitialize(b.Topic), "an existing group is not changed")
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
	require.NoError(t, subscriber.Close())
	require.ErrorIs(t, subscriber.SubscribeInitialize(b.Topic), redisstream.ErrSubscriberClosed)
	require.NoError(t, b.Subscriber(redisstream.SubscriberConfig{}).SubscribeInitialize(b.Topic))
}

func TestSubscribe_sharedClientSurvivesEveryClose(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, kept := b.Subscribe(fixture.GroupConfig())
	for i := range 10 {
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
		require.NoError(t, err)
		other := fixture.GroupConfig()
		other.ConsumerGroup = fmt.Sprint("other", i)
		subscriber, _ := b.Subscribe(other)
		require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("", []byte(fmt.Sprint(i)))))
		require.NoError(t, publisher.Close())
		require.NoError(t, subscriber.Close())
		require.NoError(t, subscriber.Close(), "second call")
	}
	assert.Equal(t, fixture.Payloads(10), fixture.ReceiveAll(t, kept, 10))
}

// Messages are shared by the pace of the handlers: four consumers get 10 of 40 messages each,
// although one started first.
func TestReadAhead_slowHandlersShareTheMessages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(40)
	var done atomic.Int64
	began := time.Now()
	var consumers sync.WaitGroup
	for range 4 {
		_, messages := b.Subscribe(fixture.GroupConfig())
		consumers.Go(func() {
			for msg := range messages {
				time.Sleep(100 * time.Millisecond) // work
				msg.Ack()
				done.Add(1)
			}
		})
	}
	b.Eventually("all done", func() bool { return done.Load() == 40 })
	assert.Less(t, time.Since(began), 2*time.Second, "ten rounds of 100 ms")
	assert.EqualValues(t, 40, done.Load())
	t.Cleanup(consumers.Wait)
}

// Subscribe returns an error if the topic is not a stream.
func TestSubscribe_reportsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("SET", b.Topic, "")
	for name, config := range map[string]redisstream.SubscriberConfig{
		"group":             fixture.GroupConfig(),
		"fan-out":           {},
		"fan-out from 0":    {StartID: "0"},
		"fan-out behind ID": {StartID: "1-1"},
	} {
		_, err := b.Subscriber(config).Subscribe(t.Context(), b.Topic)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.ErrorContains(t, err, b.Topic, name)
	}
	require.ErrorContains(t, b.Subscriber(fixture.GroupConfig()).SubscribeInitialize(b.Topic), "WRONGTYPE")
}
