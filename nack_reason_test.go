package redisstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoDeliveries gives a message up after two deliveries.
func twoDeliveries(b *bench) redisstream.SubscriberConfig {
	config := fastClaims()
	config.Client, config.MaxDeliveries = b.client, 2
	config.NackBackoff = func(int) time.Duration { return 0 }
	return config
}

// onlyLetterSays checks the one dead letter, and the line that tells of it.
func (b *bench) onlyLetterSays(log *redistest.Log, reason string) {
	b.Helper()
	b.eventually("dead-lettered", func() bool { return len(b.letters()) == 1 && log.Count("entry dead-lettered") == 1 })
	letter := b.letters()[0].Values
	assert.Contains(b, letter[redisstream.DeadLetterErrorKey], reason)
	for _, line := range log.Lines() {
		if strings.Contains(line, "entry dead-lettered") {
			assert.Contains(b, line, reason)
			assert.Contains(b, line, "entry="+letter[redisstream.DeadLetterIDKey].(string))
			assert.Contains(b, line, "message_uuid=")
			assert.NotContains(b, line, "message_uuid= ")
			assert.Contains(b, line, "deliveries=2")
		}
	}
}

func TestNackWithReason(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	messages := b.subscribeLogged(twoDeliveries(b), &log)
	b.publish(1)
	require.True(t, redisstream.NackWithReason(receive(t, messages), errors.New("first reason")))
	msg := receive(t, messages)
	require.True(t, redisstream.NackWithReason(msg, errors.New("out of milk")))
	require.True(t, redisstream.NackWithReason(msg, nil), "as Nack does")
	b.onlyLetterSays(&log, "out of milk")
}

func TestNackWithReason_ofAnotherPubSub(t *testing.T) {
	t.Parallel()
	msg := message.NewMessage("1", nil)
	assert.True(t, redisstream.NackWithReason(msg, errors.New("reason")))
	assert.False(t, msg.Ack())
}

// newRouter returns a Router that runs until the test ends.
func newRouter(t *testing.T, config message.RouterConfig, log *redistest.Log) *message.Router {
	t.Helper()
	router, err := message.NewRouter(config, log.Logger())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, router.Close()) })
	return router
}

func runRouter(t *testing.T, router *message.Router) {
	t.Helper()
	go func() { assert.NoError(t, router.Run(context.WithoutCancel(t.Context()))) }()
	waitDone(t, router.Running(), "the router runs")
}

func TestRecordError_router(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]message.NoPublishHandlerFunc{
		"error": func(*message.Message) error { return errors.New("out of milk") },
		"panic": func(*message.Message) error { panic("out of milk") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var log redistest.Log
			subscriber, err := redisstream.NewSubscriber(twoDeliveries(b), log.Logger())
			require.NoError(t, err)
			router := newRouter(t, message.RouterConfig{}, &log)
			retry := middleware.Retry{MaxRetries: 1, InitialInterval: time.Millisecond}
			router.AddMiddleware(redisstream.RecordError, retry.Middleware, middleware.Timeout(time.Minute), middleware.Recoverer)
			router.AddConsumerHandler("h", b.topic, subscriber, handler)
			runRouter(t, router)
			b.publish(1)
			b.onlyLetterSays(&log, "out of milk")
		})
	}
}

func TestRecordError_cqrs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	router := newRouter(t, message.RouterConfig{}, &log)
	router.AddMiddleware(redisstream.RecordError)
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) { return b.topic, nil },
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return redisstream.NewSubscriber(twoDeliveries(b), log.Logger())
		},
		Marshaler: cqrs.JSONMarshaler{},
	})
	require.NoError(t, err)
	require.NoError(t, processor.AddHandlers(cqrs.NewCommandHandler("brew", func(context.Context, *brew) error {
		return errors.New("out of milk")
	})))
	runRouter(t, router)
	bus, err := cqrs.NewCommandBusWithConfig(openPublisher(t, redisstream.PublisherConfig{Client: b.client}), cqrs.CommandBusConfig{
		GeneratePublishTopic: func(cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return b.topic, nil },
		Marshaler:            cqrs.JSONMarshaler{},
	})
	require.NoError(t, err)
	require.NoError(t, bus.Send(t.Context(), &brew{Cup: 1}))
	b.onlyLetterSays(&log, "out of milk")
}

// brew is a command.
type brew struct{ Cup int }
