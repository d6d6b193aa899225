package redisstream_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNewPubSub(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	pubSub, err := redisstream.NewPubSub(
		redisstream.PublisherConfig{Client: client},
		redisstream.SubscriberConfig{Client: client, ConsumerGroup: "group"}, nil)
	require.NoError(t, err)
	require.NoError(t, pubSub.SubscribeInitialize(topic))
	require.NoError(t, pubSub.Publish(topic, message.NewMessage("1", []byte("payload"))))
	messages, err := pubSub.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	msg := redistest.Within(t, "the message", messages)

	// A handler that finishes while the PubSub closes can still publish.
	closed := make(chan error, 1)
	go func() { closed <- pubSub.Close() }()
	require.Eventually(t, func() bool {
		_, err := pubSub.Subscribe(t.Context(), topic)
		return err != nil
	}, redistest.Soon, time.Millisecond)
	require.NoError(t, pubSub.Publish(topic, message.NewMessage("2", nil)))
	msg.Ack()
	require.NoError(t, redistest.Within(t, "Close", closed))

	_, open := <-messages
	assert.False(t, open)
	require.ErrorIs(t, pubSub.Publish(topic, msg), redisstream.ErrPublisherClosed)
	_, err = pubSub.Subscribe(t.Context(), topic)
	require.ErrorIs(t, err, redisstream.ErrSubscriberClosed)
	require.NoError(t, pubSub.Close(), "second call")
	require.NoError(t, client.Ping(t.Context()).Err(), "Close does not close the client")
}

func TestNewPubSub_invalidConfig(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	_, err := redisstream.NewPubSub(redisstream.PublisherConfig{}, redisstream.SubscriberConfig{Client: client}, nil)
	require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
	require.ErrorContains(t, err, "PublisherConfig.Client")
	_, err = redisstream.NewPubSub(redisstream.PublisherConfig{Client: client}, redisstream.SubscriberConfig{}, nil)
	require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
	require.ErrorContains(t, err, "SubscriberConfig.Client")
}

// A PubSub can be paused: its Publisher has no methods of these names.
var _ interface {
	Pause(topics ...string)
	Resume(topics ...string)
} = (*redisstream.PubSub)(nil)
