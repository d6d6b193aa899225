package redisstream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// bench is one stream on a server, with its name for a topic.
type bench struct {
	*testing.T
	server *redistest.Server
	client *redis.Client
	topic  string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, redistest.Shared())
}

func newBenchOn(t *testing.T, server *redistest.Server) *bench {
	t.Helper()
	topic := "topic-" + watermill.NewShortUUID()
	client := server.Client(t, func(o *redis.Options) { o.ClientName = topic })
	return &bench{T: t, server: server, client: client, topic: topic}
}

// publish publishes messages with the payloads 0 to n-1.
func (b *bench) publish(n int) {
	b.Helper()
	b.publishThrough(b.client, n)
}

func (b *bench) publishThrough(client redis.UniversalClient, n int) {
	b.Helper()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	require.NoError(b, err)
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewShortUUID(), []byte(fmt.Sprint(i)))
	}
	require.NoError(b, publisher.Publish(b.topic, messages...))
}

// subscriber returns a Subscriber of the group "g", or as config says; it is closed with the test.
func (b *bench) subscriber(config redisstream.SubscriberConfig) *redisstream.Subscriber {
	b.Helper()
	if config.Client == nil {
		config.Client = b.client
	}
	subscriber, err := redisstream.NewSubscriber(config, testLogger(b.T))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, subscriber.Close()) })
	return subscriber
}

func (b *bench) subscribe(config redisstream.SubscriberConfig) (*redisstream.Subscriber, <-chan *message.Message) {
	b.Helper()
	subscriber := b.subscriber(config)
	messages, err := subscriber.Subscribe(b.Context(), b.topic)
	require.NoError(b, err)
	return subscriber, messages
}

// inGroupG is the default configuration of a group.
func inGroupG() redisstream.SubscriberConfig {
	return redisstream.SubscriberConfig{ConsumerGroup: "g", CloseTimeout: time.Second}
}

// fastClaims takes over after 300 ms of silence.
func fastClaims() redisstream.SubscriberConfig {
	config := inGroupG()
	config.ClaimMinIdle, config.ClaimInterval = 300*time.Millisecond, 50*time.Millisecond
	return config
}

// handOut lets a consumer of the group g read so many entries, and does nothing with them.
func (b *bench) handOut(consumer string, n int) []redis.XMessage {
	b.Helper()
	if err := b.client.XGroupCreate(b.Context(), b.topic, "g", "0").Err(); !redis.HasErrorPrefix(err, "BUSYGROUP") {
		require.NoError(b, err)
	}
	streams, err := b.client.XReadGroup(b.Context(), &redis.XReadGroupArgs{
		Group: "g", Consumer: consumer, Streams: []string{b.topic, ">"}, Count: int64(n),
	}).Result()
	require.NoError(b, err)
	return streams[0].Messages
}

// pending is how many entries are pending in the group g.
func (b *bench) pending() int64 {
	b.Helper()
	summary, err := b.client.XPending(context.WithoutCancel(b.Context()), b.topic, "g").Result()
	require.NoError(b, err)
	return summary.Count
}

func (b *bench) eventually(what string, condition func() bool) {
	b.Helper()
	require.Eventually(b, condition, soon, 2*time.Millisecond, what)
}

// receive returns the next message; it fails after a while.
func receive(tb testing.TB, messages <-chan *message.Message) *message.Message {
	tb.Helper()
	select {
	case msg, open := <-messages:
		require.True(tb, open, "the channel is closed")
		return msg
	case <-time.After(soon):
		require.FailNow(tb, "no message")
		return nil
	}
}

// receiveAll acks n messages and returns their payloads.
func receiveAll(tb testing.TB, messages <-chan *message.Message, n int) []string {
	tb.Helper()
	payloads := make([]string, n)
	for i := range payloads {
		msg := receive(tb, messages)
		payloads[i] = string(msg.Payload)
		require.True(tb, msg.Ack())
	}
	return payloads
}

func nothingComes(tb testing.TB, messages <-chan *message.Message, wait time.Duration) {
	tb.Helper()
	select {
	case msg, open := <-messages:
		if open {
			require.Failf(tb, "unexpected message", "payload %s", msg.Payload)
		}
	case <-time.After(wait):
	}
}

func upTo(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return list
}

func waitDone(tb testing.TB, done <-chan struct{}, what string) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(soon):
		require.FailNow(tb, what)
	}
}

func entryOf(tb testing.TB, msg *message.Message) redisstream.Entry {
	tb.Helper()
	entry, ok := redisstream.EntryFromContext(msg.Context())
	require.True(tb, ok)
	return entry
}

// testLogger writes to the test's log while the test runs.
func testLogger(t *testing.T) watermill.LoggerAdapter {
	t.Helper()
	return watermill.NewStdLoggerWithOut(t.Output(), false, false)
}

// subscribeLogged subscribes with a log whose lines can be counted.
func (b *bench) subscribeLogged(config redisstream.SubscriberConfig, log *redistest.Log) <-chan *message.Message {
	b.Helper()
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, subscriber.Close()) })
	messages, err := subscriber.Subscribe(b.Context(), b.topic)
	require.NoError(b, err)
	return messages
}
