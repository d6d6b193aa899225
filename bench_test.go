package redisstream_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

// benchmarkPayload is the payload size of the comparison in benchmarks/.
const benchmarkPayload = 256

func BenchmarkPublish_one(b *testing.B) { publishOne(b, nil) }

// An Observer adds no allocations.
func BenchmarkPublish_oneObserved(b *testing.B) { publishOne(b, redisstream.NopObserver{}) }

func publishOne(b *testing.B, observer redisstream.Observer) {
	b.Helper()
	client := redistest.Shared().Client(b)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Observer: observer}, nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, publisher.Close()) }()
	msg := message.NewMessage(watermill.NewUUID(), make([]byte, benchmarkPayload))
	topic := b.Name()
	b.ReportAllocs()
	for b.Loop() {
		if err := publisher.Publish(topic, msg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeliver_strict has a backlog, so that replies have many entries.
func BenchmarkDeliver_strict(b *testing.B) {
	deliver(b, nil, func(msg *message.Message) { msg.Ack() })
}

// An Observer adds no allocations.
func BenchmarkDeliver_strictObserved(b *testing.B) {
	deliver(b, redisstream.NopObserver{}, func(msg *message.Message) { msg.Ack() })
}

// One of the messages in ten asks to come again in 30 s. They should take the others no more time
// than an ack would.
func BenchmarkDeliver_strictATenthIsRetried(b *testing.B) {
	n := 0
	deliver(b, nil, func(msg *message.Message) {
		if n++; n%10 > 0 {
			msg.Ack()
			return
		}
		redisstream.RetryAfter(msg, 30*time.Second)
		msg.Nack()
	})
}

// deliver delivers b.N messages to a function that settles them.
func deliver(b *testing.B, observer redisstream.Observer, settle func(*message.Message)) {
	b.Helper()
	client := redistest.Shared().Client(b)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, publisher.Close()) }()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: "group", StartID: "0", Observer: observer,
	}, nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, subscriber.Close()) }()
	topic := b.Name() + watermill.NewShortUUID()
	const page = 1000
	backlog := make([]*message.Message, page)
	for i := range backlog {
		backlog[i] = message.NewMessage(watermill.NewUUID(), make([]byte, benchmarkPayload))
	}
	for range b.N/page + 1 {
		require.NoError(b, publisher.Publish(topic, backlog...))
	}
	b.ReportAllocs()
	b.ResetTimer()
	messages, err := subscriber.Subscribe(b.Context(), topic)
	require.NoError(b, err)
	for range b.N {
		settle(<-messages)
	}
	b.StopTimer()
}
