package closing

import (
	"context"
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

// A Router with default settings is closed while a handler takes longer than CloseTimeout. Its
// message is handled once, its result is published, and no other consumer
// gets the message.
func TestClose_routerWithASlowHandler(t *testing.T) {
	t.Parallel()
	const work = 8 * time.Second
	b := fixture.New(t)
	var log redistest.Log
	subscriber := func() *redisstream.Subscriber {
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: b.Client, ConsumerGroup: "g"}, log.Logger())
		require.NoError(t, err)
		return subscriber
	}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, log.Logger())
	require.NoError(t, err)
	router, err := message.NewRouter(message.RouterConfig{}, log.Logger())
	require.NoError(t, err)
	var started atomic.Int64
	running := make(chan struct{}, 10)
	router.AddHandler("h", b.Topic, subscriber(), b.Topic+"-out", publisher, func(msg *message.Message) ([]*message.Message, error) {
		started.Add(1)
		running <- struct{}{}
		time.Sleep(work)
		return []*message.Message{message.NewMessage("done-"+msg.UUID, msg.Payload)}, nil
	})
	fixture.RunRouter(t, router)
	b.Publish(1)
	redistest.Within(t, "the handler runs", running)
	other := subscriber()
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	messages, err := other.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, router.Close(), "within the Router's 30 s")
	assert.Less(t, time.Since(began), work+fixture.Soon)
	assert.Zero(t, b.Pending(), "the ack counts")
	fixture.NothingComes(t, messages, 2*redisstream.DefaultClaimInterval)
	assert.EqualValues(t, 1, started.Load())
	assert.EqualValues(t, 1, b.Client.XLen(t.Context(), b.Topic+"-out").Val())
	assert.Zero(t, log.Count("level=ERROR"), log.Lines())
	assert.Len(t, b.Consumers(), 1, "the Router's consumer is removed")
}

// A consumer that leaves the loop over the channel never acks. Close returns all the same, and
// another consumer gets the message.
func TestClose_consumerLeftItsLoop(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := redisstream.SubscriberConfig{ConsumerGroup: "g", ClaimMinIdle: 8 * time.Second, ClaimInterval: 50 * time.Millisecond}
	subscriber, messages := b.Subscribe(config)
	b.Publish(2)
	left := fixture.Receive(t, messages)
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.InDelta(t, redisstream.DefaultCloseTimeout.Seconds(), time.Since(began).Seconds(), 1)
	closed := time.Now()
	_, next := b.Subscribe(config)
	assert.Equal(t, "1", string(fixture.Receive(t, next).Payload), "undelivered entries are released at once")
	require.Error(t, left.Context().Err())
	select {
	case _, open := <-messages:
		assert.False(t, open)
	case <-time.After(config.ClaimMinIdle + fixture.Soon):
		require.Fail(t, "the channel was not closed")
	}
	assert.Greater(t, time.Since(closed), config.ClaimMinIdle-time.Second)
}

// lateConfig has a CloseTimeout that is shorter than the handlers.
func lateConfig(b *fixture.Bench) redisstream.SubscriberConfig {
	config := fixture.FastClaimConfig()
	config.Client, config.CloseTimeout, config.ClaimMinIdle = b.Client, 50*time.Millisecond, 2*time.Second
	config.MaxInFlight = 2
	return config
}

func TestClose_lateNackReleasesTheMessage(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := lateConfig(b)
	config.ClaimMinIdle = time.Hour
	subscriber, messages := b.Subscribe(config)
	b.Publish(2)
	first, second := fixture.Receive(t, messages), fixture.Receive(t, messages)
	require.NoError(t, subscriber.Close())
	_, next := b.Subscribe(config)
	fixture.NothingComes(t, next, 4*config.ClaimInterval)
	first.Nack()
	again := fixture.Receive(t, next)
	assert.Equal(t, first.UUID, again.UUID)
	assert.EqualValues(t, 2, fixture.EntryOf(t, again).Deliveries)
	fixture.NothingComes(t, next, 4*config.ClaimInterval)
	second.Ack()
	again.Ack()
	_, open := <-messages
	assert.False(t, open)
	b.Eventually("both acks count", func() bool { return b.Pending() == 0 })
	assert.Len(t, b.Consumers(), 1, "the consumer that closed is removed")
}

func TestClose_ackAfterTheLease(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := lateConfig(b)
	config.ClaimMinIdle = 300 * time.Millisecond
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	entry := fixture.EntryOf(t, msg)
	require.NoError(t, subscriber.Close())
	_, next := b.Subscribe(config)
	again := fixture.Receive(t, next)
	assert.Equal(t, msg.UUID, again.UUID)
	assert.Equal(t, 1, log.Count("handlers still have messages when the subscription ends"))
	_, open := <-messages // closed when the lease is over
	require.False(t, open)
	msg.Ack()
	b.Eventually("the late ack is logged", func() bool { return log.Count("an ack came too late") == 1 })
	assert.Equal(t, 1, log.Count("entry="+entry.ID))
	assert.GreaterOrEqual(t, log.Count("topic="+b.Topic), 2)
	assert.EqualValues(t, 1, b.Pending(), "the entry of the other consumer")
	again.Ack()
}

func TestClose_negativeTimeoutReleasesAtOnce(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := lateConfig(b)
	config.CloseTimeout, config.ClaimMinIdle = -1, time.Hour
	subscriber, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
	_, open := <-messages
	assert.False(t, open)
	require.Error(t, msg.Context().Err())
	_, next := b.Subscribe(config)
	assert.Equal(t, msg.UUID, fixture.Receive(t, next).UUID)
}

// With a fan-out or AutoAck, Close does not wait for handlers. They may finish before the output is
// closed: then the Router closes their publisher.
func TestClose_fanoutDoesNotWait(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber, messages := b.Subscribe(redisstream.SubscriberConfig{})
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
	fixture.NothingComes(t, messages, 300*time.Millisecond)
	require.NoError(t, msg.Context().Err(), "the handler may finish")
	msg.Ack()
	_, open := <-messages
	assert.False(t, open)
	fixture.WaitDone(t, msg.Context().Done(), "the context ends with the ack")
}

func TestClose_autoAckHandlerMayPublish(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := lateConfig(b)
	config.AutoAck = true
	subscriber, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	require.NoError(t, subscriber.Close())
	fixture.NothingComes(t, messages, 300*time.Millisecond)
	select {
	case _, open := <-messages:
		require.True(t, open, "the handler still runs")
	default:
	}
	msg.Ack()
	_, open := <-messages
	assert.False(t, open)
}

// When the context of Subscribe ends by its deadline, no error is logged.
func TestClose_deadlineOfSubscribeIsNoError(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"near": 0, "far": 5 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			var log redistest.Log
			proxy := redistest.NewProxy(t, b.Server.Addr, delay)
			config := fixture.FastClaimConfig()
			config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
			config.BlockTime, config.ConsumerTimeout, config.TrimInterval = 10*time.Millisecond, 20*time.Millisecond, 10*time.Millisecond
			subscriber, err := redisstream.NewSubscriber(config, log.Logger())
			require.NoError(t, err)
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 80*time.Millisecond+time.Duration(i)*time.Millisecond)
				messages, err := subscriber.Subscribe(ctx, b.Topic)
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
