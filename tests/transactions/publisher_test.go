package transactions

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Messages are published with the caller's own writes, or not at all.
func TestTxPublisher_inATransactionOfTheCaller(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	_, err := b.Client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
		require.NoError(t, publisher.In(tx).Publish(b.Topic, fixture.Numbered("m", 3)...))
		assert.Zero(t, b.Len(), "nothing is sent yet")
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"m-0", "m-1", "m-2"}, fixture.StoredUUIDs(t, b.Client, b.Topic))
	_, err = b.Client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
		require.NoError(t, publisher.In(tx).Publish(b.Topic, fixture.Numbered("m", 3)...))
		return errors.New("changed my mind")
	})
	require.Error(t, err)
	assert.EqualValues(t, 3, b.Len())
}

// go-redis repeats no transaction with messages in it: they would be in the stream twice.
func TestTxPublisher_lostReply(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	client := b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	cuts := cutReply(proxy, "exec", 1)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	_, err := client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
		return publisher.In(tx).Publish(b.Topic, fixture.Numbered("m", 1)...)
	})
	require.Error(t, err)
	time.Sleep(100 * time.Millisecond)
	assert.EqualValues(t, 1, b.Len())
	assert.EqualValues(t, 1, cuts.Load())
}

func TestTxPublisher_maxLen(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{MaxLen: 100, Marshaler: redisstream.PlainMarshaler{}})
	_, err := b.Client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
		return publisher.In(tx).Publish(b.Topic, fixture.Numbered("m", 1000)...)
	})
	require.NoError(t, err)
	assert.Less(t, b.Len(), int64(300))
	assert.Equal(t, "m-999", b.Client.XRevRangeN(t.Context(), b.Topic, "+", "-", 1).Val()[0].Values["data"])
}

// brokenMarshaler fails for the message "bad".
type brokenMarshaler struct{ redisstream.MsgpackMarshaler }

func (m brokenMarshaler) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	switch msg.UUID {
	case "bad":
		return nil, errors.New("out of ink")
	case "panic":
		panic("out of paper")
	}
	return m.MsgpackMarshaler.Marshal(topic, msg)
}

func TestTxPublisher_errorsQueueNothing(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{Marshaler: brokenMarshaler{}})
	tx := b.Client.TxPipeline()
	good := message.NewMessage("good", nil)
	require.ErrorContains(t, publisher.In(tx).Publish(b.Topic, good, message.NewMessage("bad", nil)), `message 2 of 2, UUID "bad": marshal: out of ink`)
	require.ErrorContains(t, publisher.In(tx).Publish(b.Topic, good, message.NewMessage("panic", nil)), "out of paper")
	require.ErrorContains(t, publisher.In(tx).Publish("", good), "topic is empty")
	require.ErrorContains(t, publisher.In(tx).Publish(b.Topic, nil), "message is nil")
	require.ErrorContains(t, publisher.In(nil).Publish(b.Topic, good), "no transaction")
	require.ErrorContains(t, publisher.Publish(b.Topic, good), "no transaction")
	later := message.NewMessage("later", nil)
	delay.Message(later, delay.For(time.Hour))
	require.ErrorContains(t, publisher.In(tx).Publish(b.Topic, good, later), "delayed")
	assert.Zero(t, tx.Len())
	require.NoError(t, publisher.Close())
	require.NoError(t, publisher.In(tx).Publish(b.Topic), "no message, no error")
}

// Consume, transform, produce: what the handler returns is published with the ack. A handler that
// fails publishes nothing of what it queued.
func TestCommitHandler_router(t *testing.T) {
	t.Parallel()
	const total = 50
	b := fixture.New(t)
	var log redistest.Log
	router := fixture.NewRouter(t, message.RouterConfig{}, &log)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	retry := middleware.Retry{MaxRetries: 1, InitialInterval: time.Millisecond}
	router.AddMiddleware(redisstream.RecordError, retry.Middleware, middleware.Timeout(time.Minute), middleware.Recoverer,
		redisstream.CommitHandler(publisher))
	config := fixture.GroupConfig()
	config.NackBackoff = func(int) time.Duration { return 0 }
	attempts := map[string]int{}
	router.AddHandler("bill", b.Topic, b.Subscriber(config), b.Topic+":invoices", publisher, func(msg *message.Message) ([]*message.Message, error) {
		tx, ok := redisstream.TxFromContext(msg.Context())
		require.True(t, ok)
		tx.Incr(msg.Context(), b.Topic+":count")
		attempts[string(msg.Payload)]++
		switch attempts[string(msg.Payload)] {
		case 1:
			return fixture.Numbered("wrong", 1), errors.New("out of paper")
		case 2:
			panic("out of ink")
		}
		return []*message.Message{message.NewMessage("invoice-"+string(msg.Payload), msg.Payload)}, nil
	})
	fixture.RunRouter(t, router)
	b.Publish(total)
	b.Eventually("billed", func() bool { return b.Client.XLen(t.Context(), b.Topic+":invoices").Val() == total })
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	assert.Equal(t, "50", b.Client.Get(t.Context(), b.Topic+":count").Val())
	uuids := fixture.StoredUUIDs(t, b.Client, b.Topic+":invoices")
	for i, payload := range fixture.Payloads(total) {
		assert.Equal(t, "invoice-"+payload, uuids[i])
		assert.Equal(t, 3, attempts[payload])
	}
}

// A handler that returns messages without a publish topic gets an error, and publishes nothing.
func TestCommitHandler_withoutATopic(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	handler := redisstream.CommitHandler(redisstream.NewTxPublisher(redisstream.TxPublisherConfig{}))(
		func(*message.Message) ([]*message.Message, error) { return fixture.Numbered("m", 1), nil })
	_, err := handler(msg)
	require.ErrorContains(t, err, "topic is empty")
	assert.EqualValues(t, 1, b.Pending())
	_, ok := redisstream.TxFromContext(msg.Context())
	assert.False(t, ok, "the transaction is over")
}

type paid struct{ Order string }

type invoiced struct{ Order string }

// An EventBus publishes in the transaction of the handler.
func TestCommitHandler_cqrs(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	router := fixture.NewRouter(t, message.RouterConfig{}, &log)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	router.AddMiddleware(redisstream.CommitHandler(publisher))
	bus := func(publisher message.Publisher) *cqrs.EventBus {
		bus, err := cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
			GeneratePublishTopic: func(p cqrs.GenerateEventPublishTopicParams) (string, error) { return b.Topic + p.EventName, nil },
			Marshaler:            cqrs.JSONMarshaler{GenerateName: cqrs.StructName},
		})
		require.NoError(t, err)
		return bus
	}
	inTx := bus(publisher)
	config := fixture.GroupConfig()
	config.NackBackoff = func(int) time.Duration { return 0 }
	processor, err := cqrs.NewEventProcessorWithConfig(router, cqrs.EventProcessorConfig{
		GenerateSubscribeTopic: func(p cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) {
			return b.Topic + p.EventName, nil
		},
		SubscriberConstructor: func(cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return b.Subscriber(config), nil
		},
		Marshaler: cqrs.JSONMarshaler{GenerateName: cqrs.StructName},
	})
	require.NoError(t, err)
	attempts := 0
	require.NoError(t, processor.AddHandlers(cqrs.NewEventHandler("invoice", func(ctx context.Context, event *paid) error {
		if err := inTx.Publish(ctx, invoiced{event.Order}); err != nil {
			return err
		}
		if attempts++; attempts == 1 {
			return errors.New("out of paper")
		}
		return nil
	})))
	fixture.RunRouter(t, router)
	require.NoError(t, bus(fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})).Publish(t.Context(), paid{"1"}))
	b.Eventually("invoiced", func() bool { return b.Client.XLen(t.Context(), b.Topic+"invoiced").Val() == 1 })
	require.ErrorContains(t, inTx.Publish(t.Context(), invoiced{"2"}), "no transaction")
	assert.Equal(t, 2, attempts)
}
