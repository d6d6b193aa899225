package delayed

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/components/requeuer"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delay.NewPublisher takes the delay from the message's context, or from a default.
func TestWatermill_delayPublisher(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(group("g"))
	publisher, err := delay.NewPublisher(fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client}), delay.PublisherConfig{
		DefaultDelayGenerator: func(delay.DefaultDelayGeneratorParams) (delay.Delay, error) {
			return delay.For(200 * time.Millisecond), nil
		},
	})
	require.NoError(t, err)
	byContext := message.NewMessage("by context", nil)
	byContext.SetContext(delay.WithContext(t.Context(), delay.For(100*time.Millisecond)))
	began := time.Now()
	require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("by default", nil), byContext))
	uuid, came := handled(t, messages)
	assert.Equal(t, "by context", uuid)
	assert.GreaterOrEqual(t, came.Sub(began), 100*time.Millisecond)
	uuid, came = handled(t, messages)
	assert.Equal(t, "by default", uuid)
	assert.GreaterOrEqual(t, came.Sub(began), 200*time.Millisecond)
}

// A message that fails goes to a topic of failed messages, later and later, and a requeuer brings
// it back: PoisonQueue, DelayOnError and requeuer, with Redis alone.
func TestWatermill_delayedRequeue(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	failed := b.Topic + ":failed"
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	var log redistest.Log
	router := fixture.NewRouter(t, message.RouterConfig{CloseTimeout: 5 * time.Second}, &log)
	poison, err := middleware.PoisonQueue(publisher, failed)
	require.NoError(t, err)
	later := &middleware.DelayOnError{InitialInterval: 100 * time.Millisecond, MaxInterval: time.Minute, Multiplier: 2}
	var attempts atomic.Int32
	times := make(chan time.Time, 10)
	handler := router.AddConsumerHandler("orders", b.Topic, b.Subscriber(group("g")), func(msg *message.Message) error {
		times <- time.Now()
		if attempts.Add(1) < 4 {
			return errors.New("out of hot water")
		}
		assert.Equal(t, "value", msg.Metadata.Get("key"))
		assert.Equal(t, "3", msg.Metadata.Get(requeuer.RetriesKey))
		return nil
	})
	handler.AddMiddleware(poison, later.Middleware)
	_, err = requeuer.NewRequeuer(requeuer.Config{
		Subscriber: b.Subscriber(group("requeuer")), SubscribeTopic: failed, Publisher: publisher, Router: router,
		GeneratePublishTopic: func(params requeuer.GeneratePublishTopicParams) (string, error) {
			return params.Message.Metadata.Get(middleware.PoisonedTopicKey), nil
		},
	}, log.Logger())
	require.NoError(t, err)
	fixture.RunRouter(t, router)
	msg := message.NewMessage("coffee", nil)
	msg.Metadata.Set("key", "value")
	require.NoError(t, publisher.Publish(b.Topic, msg))
	last := redistest.Within(t, "an attempt", times)
	for _, pause := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		next := redistest.Within(t, "an attempt", times)
		assert.GreaterOrEqual(t, next.Sub(last), pause)
		last = next
	}
}
