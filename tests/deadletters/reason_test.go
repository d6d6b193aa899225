package deadletters

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
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoDeliveries is a configuration that dead-letters a message after two deliveries.
func twoDeliveries(b *fixture.Bench) redisstream.SubscriberConfig {
	config := fixture.FastClaimConfig()
	config.Client, config.MaxDeliveries = b.Client, 2
	config.NackBackoff = func(int) time.Duration { return 0 }
	return config
}

// onlyDeadLetterHas checks that there is one dead letter, with this reason, and one log line about
// it.
func onlyDeadLetterHas(b *fixture.Bench, log *redistest.Log, reason string) {
	b.Helper()
	b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 1 && log.Count("entry dead-lettered") == 1 })
	deadLetter := b.DeadLetters()[0].Values
	assert.Contains(b, deadLetter[redisstream.DeadLetterErrorKey], reason)
	for _, line := range log.Lines() {
		if strings.Contains(line, "entry dead-lettered") {
			assert.Contains(b, line, reason)
			assert.Contains(b, line, "entry="+deadLetter[redisstream.DeadLetterIDKey].(string))
			assert.Contains(b, line, "message_uuid=")
			assert.NotContains(b, line, "message_uuid= ")
			assert.Contains(b, line, "deliveries=2")
		}
	}
}

func TestNackWithReason(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	messages := b.SubscribeLogged(twoDeliveries(b), &log)
	b.Publish(1)
	require.True(t, redisstream.NackWithReason(fixture.Receive(t, messages), errors.New("first reason")))
	msg := fixture.Receive(t, messages)
	require.True(t, redisstream.NackWithReason(msg, errors.New("out of milk")))
	require.True(t, redisstream.NackWithReason(msg, nil), "as Nack does")
	onlyDeadLetterHas(b, &log, "out of milk")
}

func TestRecordError_router(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]message.NoPublishHandlerFunc{
		"error": func(*message.Message) error { return errors.New("out of milk") },
		"panic": func(*message.Message) error { panic("out of milk") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			var log redistest.Log
			subscriber, err := redisstream.NewSubscriber(twoDeliveries(b), log.Logger())
			require.NoError(t, err)
			router := fixture.NewRouter(t, message.RouterConfig{}, &log)
			retry := middleware.Retry{MaxRetries: 1, InitialInterval: time.Millisecond}
			router.AddMiddleware(redisstream.RecordError, retry.Middleware, middleware.Timeout(time.Minute), middleware.Recoverer)
			router.AddConsumerHandler("h", b.Topic, subscriber, handler)
			fixture.RunRouter(t, router)
			b.Publish(1)
			onlyDeadLetterHas(b, &log, "out of milk")
		})
	}
}

func TestRecordError_cqrs(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	router := fixture.NewRouter(t, message.RouterConfig{}, &log)
	router.AddMiddleware(redisstream.RecordError)
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) { return b.Topic, nil },
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return redisstream.NewSubscriber(twoDeliveries(b), log.Logger())
		},
		Marshaler: cqrs.JSONMarshaler{},
	})
	require.NoError(t, err)
	require.NoError(t, processor.AddHandlers(cqrs.NewCommandHandler("brew", func(context.Context, *brew) error {
		return errors.New("out of milk")
	})))
	fixture.RunRouter(t, router)
	bus, err := cqrs.NewCommandBusWithConfig(fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client}), cqrs.CommandBusConfig{
		GeneratePublishTopic: func(cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return b.Topic, nil },
		Marshaler:            cqrs.JSONMarshaler{},
	})
	require.NoError(t, err)
	require.NoError(t, bus.Send(t.Context(), &brew{Cup: 1}))
	onlyDeadLetterHas(b, &log, "out of milk")
}

// brew is a command.
type brew struct{ Cup int }
