package exclusive

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExclusive_invalid(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*redisstream.SubscriberConfig){
		"ConsumerGroup": func(c *redisstream.SubscriberConfig) { c.ConsumerGroup = "" },
		"AutoAck":       func(c *redisstream.SubscriberConfig) { c.AutoAck = true },
		"ClaimInterval": func(c *redisstream.SubscriberConfig) { c.ClaimInterval = -1 },
	} {
		config := exclusiveConfig()
		config.Client = redistest.Shared().Client(t)
		change(&config)
		_, err := redisstream.NewSubscriber(config, nil)
		require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
		require.ErrorContains(t, err, "SubscriberConfig.Exclusive")
		assert.ErrorContains(t, err, name)
	}
}

// A fixed name is that of the active consumer, and free again for the next one of the process.
func TestExclusive_fixedName(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	named := func(c *redisstream.SubscriberConfig) { c.Consumer = "pod-1" }
	first := join(b, named)
	consumer, _ := active(b, "")
	assert.Equal(t, "pod-1", consumer)
	publish(b, 0, 2)
	require.True(t, fixture.Receive(t, first.messages).Ack())
	require.NoError(t, first.Close())
	again := join(b, named)
	assert.Equal(t, payloads(1, 1), fixture.ReceiveAll(t, again.messages, 1))
	consumer, _ = active(b, "")
	assert.Equal(t, "pod-1", consumer)
}

// A pause holds for who is the active one and for who becomes it, also while it stands by.
func TestExclusive_pause(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	first := join(b, nil)
	consumer, _ := active(b, "")
	second := join(b, nil)
	second.Pause()
	publish(b, 0, 3)
	require.True(t, fixture.Receive(t, first.messages).Ack())
	first.Pause()
	fixture.NothingComes(b, first.messages, 2*exclusiveConfig().ClaimMinIdle)
	now, _ := active(b, "")
	assert.Equal(t, consumer, now, "who is paused stays the active one")
	require.NoError(t, first.Close())
	active(b, consumer)
	fixture.NothingComes(b, second.messages, 100*time.Millisecond)
	second.Resume()
	assert.Equal(t, payloads(1, 2), fixture.ReceiveAll(t, second.messages, 2))
}

// The group is paused for the active one and for who becomes it.
func TestExclusive_pauseOfTheGroup(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("SET", redisstream.PauseKey(b.Topic, "g"), "{}")
	first, second := join(b, nil), join(b, nil)
	active(b, "")
	publish(b, 0, 2)
	fixture.NothingComes(b, first.messages, 50*time.Millisecond)
	nobodyElse(b, second)
	b.Do("DEL", redisstream.PauseKey(b.Topic, "g"))
	assert.Equal(t, "0", string(receiveFromAny(b, []member{first, second}).Payload))
}

// Close ends a subscription that stands by at once, and leaves nothing behind.
func TestExclusive_closeWhileStandingBy(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	join(b, nil)
	consumer, _ := active(b, "")
	b.Eventually("it is a consumer, too", func() bool { return len(b.Consumers()) == 1 })
	second := join(b, nil)
	began := time.Now()
	require.NoError(t, second.Close())
	assert.Less(t, time.Since(began), fixture.Soon/10)
	_, open := <-second.messages
	assert.False(t, open)
	assert.Equal(t, []string{consumer}, b.Consumers())
}

// The end of the context of Subscribe hands over as Close does.
func TestExclusive_contextEnds(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := exclusiveConfig()
	subscriber := b.Subscriber(config)
	ctx, cancel := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(ctx, b.Topic)
	require.NoError(t, err)
	active(b, "")
	second := join(b, nil)
	publish(b, 0, 2)
	require.True(t, fixture.Receive(t, messages).Ack())
	cancel()
	assert.Equal(t, payloads(1, 1), fixture.ReceiveAll(t, second.messages, 1))
	for range messages {
		assert.Fail(t, "a message after the end")
	}
}
