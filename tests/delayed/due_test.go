package delayed

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delayed returns a message that is due after the given time.
func delayed(uuid string, wait time.Duration) *message.Message {
	msg := message.NewMessage(uuid, []byte(uuid))
	delay.Message(msg, delay.For(wait))
	return msg
}

// handled receives and acks a message, and returns its UUID and when it came.
func handled(t *testing.T, messages <-chan *message.Message) (uuid string, at time.Time) {
	t.Helper()
	msg := fixture.Receive(t, messages)
	at = time.Now()
	require.True(t, msg.Ack())
	return msg.UUID, at
}

// group returns the default configuration of a group that reads from the beginning.
func group(name string) redisstream.SubscriberConfig {
	return redisstream.SubscriberConfig{ConsumerGroup: name, CloseTimeout: time.Second}
}

func TestDelayed_comesToAllGroupsWhenItIsDue(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	_, first := b.Subscribe(group("first"))
	_, second := b.Subscribe(group("second"))
	_, fanOut := b.Subscribe(redisstream.SubscriberConfig{})
	const wait = 300 * time.Millisecond
	later := delayed("later", wait)
	later.Metadata.Set("key", "value")
	began := time.Now()
	require.NoError(t, publisher.Publish(b.Topic, later, message.NewMessage("now", nil)))
	for _, messages := range []<-chan *message.Message{first, second, fanOut} {
		uuid, _ := handled(t, messages)
		assert.Equal(t, "now", uuid)
		msg := fixture.Receive(t, messages)
		came := time.Now()
		require.True(t, msg.Ack())
		assert.Equal(t, "later", msg.UUID)
		assert.Equal(t, "later", string(msg.Payload))
		assert.Equal(t, later.Metadata, msg.Metadata)
		assert.GreaterOrEqual(t, came.Sub(began), wait)
	}
	assert.Zero(t, b.Client.Exists(t.Context(), redisstream.DelayedKey(b.Topic)).Val())
}

// The order is the one of the due times, and what is due in the past comes at once.
func TestDelayed_order(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(group("g"))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	past := message.NewMessage("past", nil)
	delay.Message(past, delay.Until(time.Now().Add(-time.Hour)))
	require.NoError(t, publisher.Publish(b.Topic,
		delayed("third", 300*time.Millisecond), delayed("first", 100*time.Millisecond), past, delayed("second", 200*time.Millisecond)))
	var got []string
	for range 4 {
		uuid, _ := handled(t, messages)
		got = append(got, uuid)
	}
	assert.Equal(t, []string{"past", "first", "second", "third"}, got)
}

// The server's clock decides. It may be far from the publisher's.
func TestDelayed_clocksApart(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		t.Run(offset.String(), func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.StartWithClock(t, offset))
			_, messages := b.Subscribe(group("g"))
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
			const wait = 300 * time.Millisecond
			began := time.Now()
			require.NoError(t, publisher.Publish(b.Topic, delayed("later", wait)))
			_, came := handled(t, messages)
			assert.GreaterOrEqual(t, came.Sub(began), wait)
			assert.Less(t, came.Sub(began), fixture.Soon)
		})
	}
}

// A requeued message has a duration that is out of date: the time counts, which lacks its fraction.
func TestDelayed_republished(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(group("g"))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	msg := delayed("again", time.Hour)
	due := time.Now().Add(time.Second)
	msg.Metadata.Set(delay.DelayedUntilKey, due.UTC().Format(time.RFC3339))
	require.NoError(t, publisher.Publish(b.Topic, msg))
	_, came := handled(t, messages)
	assert.GreaterOrEqual(t, came, due.Truncate(time.Second))
	require.NoError(t, publisher.Publish(b.Topic, msg), "it is due")
	handled(t, messages)
}

func TestDelayed_badMetadata(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	for _, key := range []string{delay.DelayedUntilKey, delay.DelayedForKey} {
		msg := delayed("bad", time.Hour)
		msg.Metadata.Set(key, "soon")
		err := publisher.Publish(b.Topic, message.NewMessage("good", nil), msg)
		failure := fixture.AsPublishError(t, err)
		assert.Len(t, failure.Failed, 2)
		assert.ErrorContains(t, err, key)
		assert.ErrorContains(t, err, `message 2 of 2, UUID "bad"`)
	}
	assert.Zero(t, b.Client.Exists(t.Context(), b.Topic, redisstream.DelayedKey(b.Topic)).Val())
}

// MaxLen and MaxAge apply when the message is moved.
func TestDelayed_maxLen(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, MaxLen: 100})
	many := make([]*message.Message, 1000)
	for i := range many {
		many[i] = delayed("x", 50*time.Millisecond)
	}
	require.NoError(t, publisher.Publish(b.Topic, many...))
	b.Eventually("all are moved", func() bool { return b.Client.Exists(t.Context(), redisstream.DelayedKey(b.Topic)).Val() == 0 })
	assert.Less(t, b.Len(), int64(300))
	assert.GreaterOrEqual(t, b.Len(), int64(100))
}

func TestDelayed_maxAge(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	old := b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, ID: "1-0", Values: []string{"a", "b"}})
	require.NoError(t, old.Err())
	for range 200 { // whole nodes are dropped
		require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, ID: "1-*", Values: []string{"a", "b"}}).Err())
	}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, MaxAge: time.Hour})
	require.NoError(t, publisher.Publish(b.Topic, delayed("x", 50*time.Millisecond)))
	b.Eventually("moved", func() bool { return b.Len() < 150 })
	last, err := b.Client.XRevRangeN(t.Context(), b.Topic, "+", "-", 1).Result()
	require.NoError(t, err)
	assert.Equal(t, "x", last[0].Values["payload"])
}

func TestDelayed_large(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(group("g"))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	payload := strings.Repeat("x", 4<<20)
	for range 5 {
		msg := message.NewMessage("large", []byte(payload))
		delay.Message(msg, delay.For(100*time.Millisecond))
		require.NoError(t, publisher.Publish(b.Topic, msg))
	}
	for range 5 {
		msg := fixture.Receive(t, messages)
		assert.Len(t, msg.Payload, len(payload))
		require.True(t, msg.Ack())
	}
}

func TestDelayed_allBytes(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(group("g"))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	msg := message.NewMessage(string(fixture.AllBytes()), fixture.AllBytes())
	msg.Metadata.Set(string(fixture.AllBytes()), string(fixture.AllBytes()))
	delay.Message(msg, delay.For(50*time.Millisecond))
	require.NoError(t, publisher.Publish(b.Topic, msg))
	got := fixture.Receive(t, messages)
	require.True(t, got.Ack())
	assert.True(t, msg.Equals(got))
}

func TestDelayed_cluster(t *testing.T) {
	t.Parallel()
	server := redistest.StartCluster(t)
	client := fixture.ConnectTo(t, "redis://"+server.Addr+"?cluster=true")
	topic := fixture.NewTopic(t)
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: "g", CloseTimeout: time.Second}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, publisher.Publish(topic, delayed("later", 100*time.Millisecond)))
	uuid, _ := handled(t, messages)
	assert.Equal(t, "later", uuid)

	err = publisher.Publish("a}b", delayed("later", time.Hour))
	require.ErrorContains(t, err, "hash tag")
	require.NoError(t, publisher.Publish("a}b", message.NewMessage("now", nil)))
}
