package redisstreamotel_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	placeOrder  struct{ Order string }
	orderPlaced struct{ Order string }
	orderReady  struct{ Order string }
)

var marshaler = cqrs.JSONMarshaler{GenerateName: cqrs.StructName}

// eventBus returns an EventBus whose events go to one topic.
func eventBus(t *testing.T, publisher message.Publisher, topic string) *cqrs.EventBus {
	t.Helper()
	bus, err := cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
		GeneratePublishTopic: func(cqrs.GenerateEventPublishTopicParams) (string, error) { return topic, nil }, Marshaler: marshaler,
	})
	require.NoError(t, err)
	return bus
}

// A command leads to an event, which two groups handle, and one of them publishes another: all of it
// is one trace.
func TestCQRS(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	publisher, router := b.publisher(), fixture.NewRouter(t, message.RouterConfig{}, new(redistest.Log))
	router.AddMiddleware(redisstreamotel.Middleware(b.options()...), middleware.Recoverer)
	events := b.Topic + ":events"
	subscriber := func(group string) message.Subscriber {
		config := retryAtOnce()
		config.ConsumerGroup = group
		return b.Subscriber(config)
	}
	commandBus, err := cqrs.NewCommandBusWithConfig(publisher, cqrs.CommandBusConfig{
		GeneratePublishTopic: func(cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return b.Topic, nil }, Marshaler: marshaler,
	})
	require.NoError(t, err)
	bus := eventBus(t, publisher, events)
	commands, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) { return b.Topic, nil },
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return subscriber("counter"), nil
		},
		Marshaler: marshaler,
	})
	require.NoError(t, err)
	require.NoError(t, commands.AddHandlers(cqrs.NewCommandHandler("counter", func(ctx context.Context, command *placeOrder) error {
		return bus.Publish(ctx, orderPlaced(*command))
	})))
	groups, err := cqrs.NewEventGroupProcessorWithConfig(router, cqrs.EventGroupProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) { return events, nil },
		SubscriberConstructor: func(params cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return subscriber(params.EventGroupName), nil
		},
		AckOnUnknownEvent: true, Marshaler: marshaler,
	})
	require.NoError(t, err)
	require.NoError(t, groups.AddHandlersGroup("kitchen", cqrs.NewGroupEventHandler(func(ctx context.Context, event *orderPlaced) error {
		return bus.Publish(ctx, orderReady(*event))
	})))
	require.NoError(t, groups.AddHandlersGroup("screen", cqrs.NewGroupEventHandler(func(context.Context, *orderReady) error { return nil })))
	fixture.RunRouter(t, router)

	ctx, request := b.start("request")
	require.NoError(t, commandBus.Send(ctx, &placeOrder{Order: "tea"}))
	send, command := b.only("publish "+b.Topic), b.only("process "+b.Topic)
	childOf(t, send, request.SpanContext())
	childOf(t, command, send.SpanContext)
	published, processed := b.await("publish "+events, 2), b.await("process "+events, 4)
	childOf(t, published[0], command.SpanContext)
	byEvent := map[string][]string{}
	for _, process := range processed {
		group := values(process.Attributes)["messaging.consumer.group.name"].(string)
		for i, publish := range published {
			if process.Parent.SpanID() == publish.SpanContext.SpanID() {
				byEvent[[]string{"placed", "ready"}[i]] = append(byEvent[[]string{"placed", "ready"}[i]], group)
			}
			if i == 1 && publish.Parent.SpanID() == process.SpanContext.SpanID() {
				assert.Equal(t, "kitchen", group, "who published the second event")
			}
		}
		assert.Equal(t, request.SpanContext().TraceID(), process.SpanContext.TraceID())
	}
	for _, event := range []string{"placed", "ready"} {
		assert.ElementsMatch(t, []string{"kitchen", "screen"}, byEvent[event], event)
	}
}

// A handler's transaction: what an EventBus publishes in it has a span through the decorator of the
// TxPublisher, and what the handler returns through CreateSpans.
func TestCommitHandler(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	tx := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	topic := "{" + b.Topic + "}"
	events, invoices := topic+":events", topic+":invoices"
	bus := eventBus(t, redisstreamotel.NewPublisher(tx, b.options()...), events)
	router := fixture.NewRouter(t, message.RouterConfig{}, new(redistest.Log))
	router.AddMiddleware(redisstreamotel.Middleware(b.options()...), redisstream.CommitHandler(tx), redisstreamotel.CreateSpans(b.options()...))
	router.AddHandler("bill", topic, b.Subscriber(retryAtOnce()), invoices, tx, func(msg *message.Message) ([]*message.Message, error) {
		pipe, _ := redisstream.TxFromContext(msg.Context())
		pipe.Incr(msg.Context(), topic+":count")
		if fixture.EntryOf(t, msg).Deliveries == 1 {
			pipe.XGroupCreate(msg.Context(), topic, "no such command in a Commit", "0")
		}
		if err := bus.Publish(msg.Context(), orderPlaced{Order: "tea"}); err != nil {
			return nil, err
		}
		return []*message.Message{message.NewMessage("invoice", []byte("secret")), msg}, nil
	})
	fixture.RunRouter(t, router)
	require.NoError(t, b.publisher().Publish(topic, message.NewMessage("m", nil)))
	processed := b.await("process "+topic, 2)
	failedWith(t, processed[0], "commit_refused", redisstreamotel.OutcomeRedeliver)
	published, created := b.await("publish "+events, 2), b.await("create "+invoices, 4)
	childOf(t, published[1], processed[1].SpanContext)
	assert.Equal(t, published[1].SpanContext.SpanID(), remote(b.stored(events)[0]).SpanID())
	for i, create := range created[2:] {
		childOf(t, create, processed[1].SpanContext)
		assert.Equal(t, create.SpanContext.SpanID(), remote(b.stored(invoices)[i]).SpanID())
		assert.NotContains(t, create.Attributes, "secret")
	}
	assert.Equal(t, "1", b.Client.Get(t.Context(), topic+":count").Val())
}

// A transaction of the caller.
func TestTxPublisher_In(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	ctx, request := b.start("request")
	_, err := b.Client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
		return redisstreamotel.NewPublisher(publisher.In(tx), b.options()...).Publish(b.Topic, message.NewMessageWithContext(ctx, "m", nil))
	})
	require.NoError(t, err)
	childOf(t, b.only("publish "+b.Topic), request.SpanContext())
	assert.Equal(t, request.SpanContext().TraceID(), remote(b.stored(b.Topic)[0]).TraceID())
}
