package members

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process with another number of partitions, or with none, is refused. What drains may be read.
func TestMembers_anotherNumber(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publish(b, 1, 0, 1)
	subscribe := func(n int, group string) error {
		config := memberConfig()
		config.Client, config.Partitions, config.ConsumerGroup = b.Client, n, group
		_, err := b.Subscriber(config).Subscribe(t.Context(), b.Topic)
		return err
	}
	for _, group := range []string{"g", ""} {
		require.NoError(t, subscribe(partitions, group))
		err := subscribe(24, group)
		require.ErrorIs(t, err, redisstream.ErrPartitions)
		assert.ErrorContains(t, err, "12")
		assert.ErrorContains(t, err, "24")
		require.ErrorIs(t, subscribe(0, group), redisstream.ErrPartitions)
	}
	require.NoError(t, redisstream.SetPartitions(t.Context(), b.Client, b.Topic, partitions, 24))
	require.NoError(t, subscribe(partitions, "g"), "it drains")
	require.NoError(t, subscribe(24, "g"))
	initialize := func(n int) error {
		config := memberConfig()
		config.Partitions = n
		return b.Subscriber(config).SubscribeInitialize(b.Topic)
	}
	require.NoError(t, initialize(24))
	require.ErrorIs(t, initialize(3), redisstream.ErrPartitions)
}

// A nacked message comes again before its successors, also to the next owner of its partition. One
// that is over the limit becomes a dead letter of the partition, and its key goes on.
func TestMembers_nackAndDeadLetter(t *testing.T) {
	t.Parallel()
	b, j := fixture.New(t), &journal{}
	config := memberConfig()
	config.MaxDeliveries, config.NackBackoff = 3, func(int) time.Duration { return 0 }
	first, messages := b.Subscribe(config)
	awaitAllOwned(b)
	publish(b, 1, 0, 3)
	require.True(t, fixture.Receive(t, messages).Nack())
	require.NoError(t, first.Close())
	second, messages := b.Subscribe(config)
	t.Cleanup(func() { assert.NoError(t, second.Close()) })
	deliveries := int64(0)
	for msg := range messages {
		entry := fixture.EntryOf(t, msg)
		if string(msg.Payload) == "0" {
			assert.Greater(t, entry.Deliveries, deliveries)
			deliveries = entry.Deliveries
			require.True(t, msg.Nack())
			continue
		}
		j.next = map[string]int{"0": max(j.next["0"], 1)}
		j.handled(0, msg)
		require.True(t, msg.Ack())
		if string(msg.Payload) == "2" {
			break
		}
	}
	assert.EqualValues(t, 3, deliveries)
	assert.Empty(t, j.broken)
	stream := redisstream.PartitionTopic(b.Topic, redisstream.PartitionOf("0", partitions), partitions)
	assert.EqualValues(t, 1, b.Client.XLen(t.Context(), redisstream.DeadLetterTopic(stream)).Val())
}

// Delayed messages come when they are due, to whoever owns their partition then.
func TestMembers_delayed(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: partitions, PartitionKey: keyOf})
	for _, msg := range fixture.Numbered("m", 20) {
		msg.Metadata.Set("key", msg.UUID)
		msg.SetContext(delay.WithContext(t.Context(), delay.For(time.Second)))
		require.NoError(t, publisher.Publish(b.Topic, msg))
	}
	require.NoError(t, publisher.Close())
	_, one := b.Subscribe(memberConfig())
	_, two := b.Subscribe(memberConfig())
	for range 20 {
		select {
		case msg := <-one:
			msg.Ack()
		case msg := <-two:
			msg.Ack()
		case <-time.After(fixture.Soon):
			require.FailNow(t, "a delayed message did not come")
		}
	}
}

// During a pause nothing is delivered, and each member keeps its partitions.
func TestMembers_pause(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber := b.Subscriber(memberConfig())
	subscriber.Pause(b.Topic)
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	awaitAllOwned(b)
	before := owners(b)
	publish(b, 20, 0, 1)
	fixture.NothingComes(b, messages, lease+500*time.Millisecond)
	assert.Equal(t, before, owners(b))
	subscriber.Resume(b.Topic)
	for range 20 {
		require.True(t, fixture.Receive(t, messages).Ack())
	}
}

// Close waits for running handlers and sends their acks. Then the group has no member, and nobody owns
// a partition.
func TestMembers_close(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*redisstream.Subscriber, context.CancelFunc){
		"close":   func(s *redisstream.Subscriber, _ context.CancelFunc) { _ = s.Close() },
		"context": func(_ *redisstream.Subscriber, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			subscriber := b.Subscriber(memberConfig())
			messages, err := subscriber.Subscribe(ctx, b.Topic)
			require.NoError(t, err)
			awaitAllOwned(b)
			publish(b, 30, 0, 2)
			msg := fixture.Receive(t, messages)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				end(subscriber, cancel)
				for other := range messages { // those that were offered before the end
					other.Nack()
				}
			}()
			select {
			case <-ended:
				assert.Fail(t, "a handler is running")
			case <-time.After(100 * time.Millisecond):
			}
			require.NoError(t, msg.Context().Err())
			require.True(t, msg.Ack())
			redistest.Within(t, "the end", ended)
			entry := fixture.EntryOf(t, msg)
			assert.Zero(t, b.Client.XPending(t.Context(), entry.Stream, "g").Val().Count)
			assert.Equal(t, [partitions]string{}, owners(b))
			assert.Zero(t, b.Client.Exists(t.Context(), redisstream.PartitionMembersKey(b.Topic, "g")).Val())
		})
	}
}

type placed struct{ Number int }

// Watermill's CQRS works with partitions: the events of a key are handled in order by two processors.
func TestMembers_cqrs(t *testing.T) {
	t.Parallel()
	b, j := fixture.New(t), &journal{}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: partitions, PartitionKey: keyOf})
	marshaler := cqrs.JSONMarshaler{}
	bus, err := cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
		GeneratePublishTopic: func(cqrs.GenerateEventPublishTopicParams) (string, error) { return b.Topic, nil },
		OnPublish: func(p cqrs.OnEventSendParams) error {
			p.Message.Metadata.Set("key", strconv.Itoa(p.Event.(*placed).Number%7))
			return nil
		},
		Marshaler: marshaler,
	})
	require.NoError(t, err)
	for member := range 2 {
		router := fixture.NewRouter(t, message.RouterConfig{}, new(redistest.Log))
		processor, err := cqrs.NewEventProcessorWithConfig(router, cqrs.EventProcessorConfig{
			GenerateSubscribeTopic: func(cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) { return b.Topic, nil },
			SubscriberConstructor: func(cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
				return b.Subscriber(memberConfig()), nil
			},
			Marshaler: marshaler,
		})
		require.NoError(t, err)
		require.NoError(t, processor.AddHandlers(cqrs.NewEventHandler("placed", func(ctx context.Context, event *placed) error {
			entry, _ := redisstream.EntryFromContext(ctx)
			msg := message.NewMessage("", []byte(strconv.Itoa(event.Number/7)))
			msg.SetContext(redisstream.ContextWithEntry(ctx, entry))
			msg.Metadata.Set("key", strconv.Itoa(event.Number%7))
			j.handled(member, msg)
			return nil
		})))
		fixture.RunRouter(t, router)
	}
	for i := range 210 {
		require.NoError(t, bus.Publish(t.Context(), &placed{i}))
	}
	b.Eventually("all are handled", func() bool { return j.count() == 210 })
	assert.Empty(t, j.broken)
}
