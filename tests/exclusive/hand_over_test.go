// Package exclusive tests exclusive consumers: one consumer of a group is active, the others stand
// by.
package exclusive

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exclusiveConfig has a lease of 600 ms.
func exclusiveConfig() redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.Exclusive, config.ClaimMinIdle = true, 600*time.Millisecond
	return config
}

// member is an exclusive subscription.
type member struct {
	*redisstream.Subscriber

	messages <-chan *message.Message
}

func join(b *fixture.Bench, change func(*redisstream.SubscriberConfig)) member {
	b.Helper()
	config := exclusiveConfig()
	if change != nil {
		change(&config)
	}
	subscriber, messages := b.Subscribe(config)
	return member{subscriber, messages}
}

// active waits until the group has an active consumer other than the given one, and returns its name
// and generation.
func active(b *fixture.Bench, not string) (consumer string, generation int64) {
	b.Helper()
	b.Eventually("a consumer is active", func() bool {
		owner := b.Client.HGetAll(b.Context(), redisstream.OwnerKey(b.Topic, "g")).Val()
		_, err := fmt.Sscan(owner["generation"], &generation)
		consumer = owner["consumer"]
		return err == nil && consumer != "" && consumer != not
	})
	return consumer, generation
}

// payloads returns the numbers from first on.
func payloads(first, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(first + i)
	}
	return list
}

func entryOf(t *testing.T, msg *message.Message) redisstream.Entry {
	t.Helper()
	entry, ok := redisstream.EntryFromContext(msg.Context())
	require.True(t, ok)
	return entry
}

// nobodyElse fails the test if one of the members gets a message.
func nobodyElse(b *fixture.Bench, members ...member) {
	b.Helper()
	for _, m := range members {
		select {
		case msg, open := <-m.messages:
			assert.False(b, open, "%v", msg)
		default:
		}
	}
}

// One member gets all messages in order. When it ends, another one goes on within a second, and none
// is delivered twice.
func TestExclusive_oneIsActive(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	first := join(b, nil)
	consumer, generation := active(b, "")
	second, third := join(b, nil), join(b, nil)
	b.Publish(300)
	assert.Equal(t, payloads(0, 100), fixture.ReceiveAll(t, first.messages, 100))
	msg := fixture.Receive(t, first.messages)
	entry := entryOf(t, msg)
	assert.Equal(t, consumer, entry.Consumer)
	assert.Equal(t, generation, entry.Generation)
	assert.Equal(t, []string{consumer}, b.Consumers(), "those that stand by are no consumers yet")
	require.True(t, msg.Ack())
	nobodyElse(b, second, third)

	require.NoError(t, first.Close())
	ended := time.Now()
	next := second
	select {
	case msg = <-second.messages:
	case msg = <-third.messages:
		next = third
	case <-time.After(fixture.Soon):
		require.FailNow(t, "no message")
	}
	t.Log("hand-over took", time.Since(ended))
	assert.Equal(t, "101", string(msg.Payload))
	assert.Greater(t, entryOf(t, msg).Generation, generation)
	assert.EqualValues(t, 1, entryOf(t, msg).Deliveries, "what was read ahead is no delivery")
	require.True(t, msg.Ack())
	assert.Equal(t, payloads(102, 198), fixture.ReceiveAll(t, next.messages, 198))
	nobodyElse(b, first, second, third)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}

// Close hands over after the running message is settled: not before, and then at once.
func TestExclusive_handOverWaitsForTheRunningMessage(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	first := join(b, func(c *redisstream.SubscriberConfig) { c.CloseTimeout = fixture.Soon })
	active(b, "")
	second := join(b, nil)
	b.Publish(3)
	running := fixture.Receive(t, first.messages)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		assert.NoError(t, first.Close())
	}()
	fixture.NothingComes(b, second.messages, 2*exclusiveConfig().ClaimMinIdle) // longer than a lease
	assert.NoError(t, running.Context().Err())
	require.True(t, running.Ack())
	redistest.Within(t, "Close", closed)
	assert.Equal(t, payloads(1, 2), fixture.ReceiveAll(t, second.messages, 2))
}

// A handler that still runs after CloseTimeout keeps the stream for the length of a lease, or until
// it settles its message.
func TestExclusive_lateHandler(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(*message.Message) bool{
		"ack": (*message.Message).Ack, "nack": (*message.Message).Nack, "nothing": func(*message.Message) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			lease := time.Second
			first := join(b, func(c *redisstream.SubscriberConfig) {
				c.CloseTimeout, c.ClaimMinIdle = 50*time.Millisecond, lease
			})
			active(b, "")
			second := join(b, func(c *redisstream.SubscriberConfig) { c.ClaimMinIdle = lease })
			b.Publish(2)
			running := fixture.Receive(t, first.messages)
			began := time.Now()
			require.NoError(t, first.Close())
			nobodyElse(b, second)
			require.True(t, settle(running))
			msg := fixture.Receive(t, second.messages)
			took := time.Since(began)
			switch name {
			case "ack":
				assert.Equal(t, "1", string(msg.Payload))
			case "nack":
				assert.Equal(t, "0", string(msg.Payload))
			default:
				assert.Equal(t, "0", string(msg.Payload))
				assert.Greater(t, took, lease)
			}
			assert.Equal(t, map[string]int64{"ack": 1, "nack": 2, "nothing": 2}[name], entryOf(t, msg).Deliveries)
		})
	}
}

// A nacked message comes again before its successors, also to the next active consumer.
func TestExclusive_nackThenHandOver(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	first := join(b, func(c *redisstream.SubscriberConfig) {
		c.NackBackoff = func(int) time.Duration { return time.Minute }
	})
	active(b, "")
	second := join(b, nil)
	b.Publish(3)
	require.True(t, fixture.Receive(t, first.messages).Nack())
	require.NoError(t, first.Close())
	assert.Equal(t, payloads(0, 3), fixture.ReceiveAll(t, second.messages, 3))
}

// A message over the delivery limit becomes a dead letter, also if the deliveries were those of
// several active consumers.
func TestExclusive_deadLetter(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	limit := func(c *redisstream.SubscriberConfig) {
		c.MaxDeliveries, c.NackBackoff = 2, func(int) time.Duration { return 0 }
	}
	first := join(b, limit)
	active(b, "")
	second := join(b, limit)
	b.Publish(2)
	require.True(t, fixture.Receive(t, first.messages).Nack())
	require.NoError(t, first.Close())
	msg := fixture.Receive(t, second.messages)
	for string(msg.Payload) == "0" {
		require.True(t, msg.Nack())
		msg = fixture.Receive(t, second.messages)
	}
	assert.Equal(t, "1", string(msg.Payload))
	assert.Len(t, b.DeadLetters(), 1)
}
