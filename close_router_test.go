package redisstream_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handler takes longer than CloseTimeout when the Router is closed, with all defaults: its message is handled once, what it
// returns is published, and no other member starts it meanwhile.
func TestRouterClose_slowHandler(t *testing.T) {
	t.Parallel()
	const work = 8 * time.Second
	b := newBench(t)
	var log redistest.Log
	subscriber := func() *redisstream.Subscriber {
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: b.client, ConsumerGroup: "g"}, log.Logger())
		require.NoError(t, err)
		return subscriber
	}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.client}, log.Logger())
	require.NoError(t, err)
	router, err := message.NewRouter(message.RouterConfig{}, log.Logger())
	require.NoError(t, err)
	var started atomic.Int64
	running := make(chan struct{}, 10)
	router.AddHandler("h", b.topic, subscriber(), b.topic+"-out", publisher, func(msg *message.Message) ([]*message.Message, error) {
		started.Add(1)
		running <- struct{}{}
		time.Sleep(work)
		return []*message.Message{message.NewMessage("done-"+msg.UUID, msg.Payload)}, nil
	})
	runRouter(t, router)
	b.publish(1)
	redistest.Within(t, "the handler runs", running)
	other := subscriber()
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	messages, err := other.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, router.Close(), "within the Router's 30 s")
	assert.Less(t, time.Since(began), work+soon)
	assert.Zero(t, b.pending(), "the ack counts")
	nothingComes(t, messages, 2*redisstream.DefaultClaimInterval)
	assert.EqualValues(t, 1, started.Load())
	assert.EqualValues(t, 1, b.client.XLen(t.Context(), b.topic+"-out").Val())
	assert.Zero(t, log.Count("level=ERROR"), log.Lines())
	assert.Len(t, b.consumers(), 1, "the Router's has left")
}

// Whoever left the loop over the channel never acks: Close returns all the same, and the message comes again elsewhere.
func TestClose_consumerLeftItsLoop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := redisstream.SubscriberConfig{ConsumerGroup: "g", ClaimMinIdle: 8 * time.Second, ClaimInterval: 50 * time.Millisecond}
	subscriber, messages := b.subscribe(config)
	b.publish(2)
	left := receive(t, messages)
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.InDelta(t, redisstream.DefaultCloseTimeout.Seconds(), time.Since(began).Seconds(), 1)
	closed := time.Now()
	_, next := b.subscribe(config)
	assert.Equal(t, "1", string(receive(t, next).Payload), "what no handler had is free at once")
	require.Error(t, left.Context().Err())
	select {
	case _, open := <-messages:
		assert.False(t, open)
	case <-time.After(config.ClaimMinIdle + soon):
		require.Fail(t, "the channel is never closed")
	}
	assert.Greater(t, time.Since(closed), config.ClaimMinIdle-time.Second)
}

// lateConfig has a CloseTimeout that a handler exceeds.
func lateConfig(b *bench) redisstream.SubscriberConfig {
	config := fastClaims()
	config.Client, config.CloseTimeout, config.ClaimMinIdle = b.client, 50*time.Millisecond, 2*time.Second
	config.MaxInFlight = 2
	return config
}

func TestClose_lateNackFreesTheMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := lateConfig(b)
	config.ClaimMinIdle = time.Hour
	subscriber, messages := b.subscribe(config)
	b.publish(2)
	first, second := receive(t, messages), receive(t, messages)
	require.NoError(t, subscriber.Close())
	_, next := b.subscribe(config)
	nothingComes(t, next, 4*config.ClaimInterval)
	first.Nack()
	again := receive(t, next)
	assert.Equal(t, first.UUID, again.UUID)
	assert.EqualValues(t, 2, entryOf(t, again).Deliveries)
	nothingComes(t, next, 4*config.ClaimInterval)
	second.Ack()
	again.Ack()
	_, open := <-messages
	assert.False(t, open)
	b.eventually("both acks count", func() bool { return b.pending() == 0 })
	assert.Len(t, b.consumers(), 1, "who was closed has left")
}

func TestClose_ackAfterTheLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	config := lateConfig(b)
	config.ClaimMinIdle = 300 * time.Millisecond
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	messages, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	b.publish(1)
	msg := receive(t, messages)
	entry := entryOf(t, msg)
	require.NoError(t, subscriber.Close())
	_, next := b.subscribe(config)
	again := receive(t, next)
	assert.Equal(t, msg.UUID, again.UUID)
	assert.Equal(t, 1, log.Count("handlers still have messages when the subscription ends"))
	_, open := <-messages // when the lease is over
	require.False(t, open)
	msg.Ack()
	b.eventually("the late ack is logged", func() bool { return log.Count("an ack came too late") == 1 })
	assert.Equal(t, 1, log.Count("entry="+entry.ID))
	assert.GreaterOrEqual(t, log.Count("topic="+b.topic), 2)
	assert.EqualValues(t, 1, b.pending(), "the other one's")
	again.Ack()
}

func TestClose_negativeTimeoutReleasesAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := lateConfig(b)
	config.CloseTimeout, config.ClaimMinIdle = -1, time.Hour
	subscriber, messages := b.subscribe(config)
	b.publish(1)
	msg := receive(t, messages)
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
	_, open := <-messages
	assert.False(t, open)
	require.Error(t, msg.Context().Err())
	_, next := b.subscribe(config)
	assert.Equal(t, msg.UUID, receive(t, next).UUID)
}

// A fan-out and AutoAck have nothing to protect; their handlers may finish before the output is closed, which the Router takes
// for the sign to close their publisher.
func TestClose_fanoutDoesNotWait(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	subscriber, messages := b.subscribe(redisstream.SubscriberConfig{})
	b.publish(1)
	msg := receive(t, messages)
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
	nothingComes(t, messages, 300*time.Millisecond)
	require.NoError(t, msg.Context().Err(), "the handler may finish")
	msg.Ack()
	_, open := <-messages
	assert.False(t, open)
	waitDone(t, msg.Context().Done(), "the context ends with the ack")
}

func TestClose_autoAckHandlerMayPublish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := lateConfig(b)
	config.AutoAck = true
	subscriber, messages := b.subscribe(config)
	b.publish(1)
	msg := receive(t, messages)
	require.NoError(t, subscriber.Close())
	nothingComes(t, messages, 300*time.Millisecond)
	select {
	case _, open := <-messages:
		require.True(t, open, "the handler still runs")
	default:
	}
	msg.Ack()
	_, open := <-messages
	assert.False(t, open)
}

// Subscribe's context has a deadline: its end is no failure.
func TestSubscribe_deadlineIsNoError(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"near": 0, "far": 5 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var log redistest.Log
			proxy := redistest.NewProxy(t, b.server.Addr, delay)
			config := fastClaims()
			config.Client = b.server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
			config.BlockTime, config.ConsumerTimeout, config.TrimInterval = 10*time.Millisecond, 20*time.Millisecond, 10*time.Millisecond
			subscriber, err := redisstream.NewSubscriber(config, log.Logger())
			require.NoError(t, err)
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 80*time.Millisecond+time.Duration(i)*time.Millisecond)
				messages, err := subscriber.Subscribe(ctx, b.topic)
				if err == nil {
					_, open := <-messages
					assert.False(t, open)
				}
				cancel()
			}
			require.NoError(t, subscriber.Close())
			assert.GreaterOrEqual(t, log.Count("subscription ended"), 25)
			assert.Zero(t, log.Count("level=ERROR"), log.Lines())
		})
	}
}
