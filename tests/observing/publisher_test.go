package observing

import (
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObserver_published(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, r := openPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	require.NoError(t, publisher.Publish(b.Topic))
	require.NoError(t, publisher.Publish(b.Topic, fixture.Heavy("m", 3, 1000)...))

	events := of[redisstream.PublishEvent](r)
	require.Len(t, events, 1, "an empty call is none")
	assert.Positive(t, events[0].Duration)
	assert.InDelta(t, 3*1000, events[0].Bytes, 300)
	events[0].Duration, events[0].Bytes = 0, 0
	assert.Equal(t, redisstream.PublishEvent{Topic: b.Topic, Published: 3}, events[0])

	pipelines := of[redisstream.PipelineEvent](r)
	require.Len(t, pipelines, 1)
	assert.Positive(t, pipelines[0].Duration)
	assert.Greater(t, pipelines[0].Bytes, 3*1000)
	pipelines[0].Duration, pipelines[0].Bytes = 0, 0
	assert.Equal(t, redisstream.PipelineEvent{Topic: b.Topic, Messages: 3, Calls: 1}, pipelines[0])
}

func TestObserver_publishFailed(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	require.NoError(t, b.Client.Set(t.Context(), b.Topic, "no stream", 0).Err())
	publisher, r := openPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	err := publisher.Publish(b.Topic, fixture.Numbered("m", 2)...)
	require.Error(t, err)
	require.Error(t, publisher.Publish("", fixture.Numbered("m", 1)...))
	require.NoError(t, publisher.Close())
	require.NoError(t, publisher.Close())
	require.ErrorIs(t, publisher.Publish(b.Topic, fixture.Numbered("m", 1)...), redisstream.ErrPublisherClosed)

	events := of[redisstream.PublishEvent](r)
	require.Len(t, events, 3)
	assert.Equal(t, err, events[0].Err)
	for i, failed := range []int{2, 1, 1} {
		assert.Equal(t, failed, events[i].Failed)
		assert.Zero(t, events[i].Published+events[i].Uncertain+events[i].Bytes)
	}
	assert.Len(t, of[redisstream.PipelineEvent](r), 1)
	closed := of[redisstream.CloseEvent](r)
	require.Len(t, closed, 1, "the second Close is none")
	assert.Empty(t, closed[0].Topic)
	assert.True(t, closed[0].Complete)
}

// The reply to one message comes, the one to the next is lost with the connection.
func TestObserver_publishUncertain(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	client := b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	publisher, r := openPublisher(t, redisstream.PublisherConfig{Client: client})
	messages := fixture.Heavy("m", 2, 100<<10) // each has a pipeline of its own
	replies := 0
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if chunk[0] != '$' { // the handshake
			return len(chunk), false
		}
		replies++
		if replies == 2 {
			return 0, true
		}
		return len(chunk), false
	})
	require.Error(t, publisher.Publish(b.Topic, messages...))

	event := one[redisstream.PublishEvent](b, r)
	assert.Equal(t, 1, event.Published)
	assert.Equal(t, 1, event.Uncertain)
	assert.Zero(t, event.Failed)
	assert.InDelta(t, 100<<10, event.Bytes, 300, "of the published one")
	assert.Len(t, of[redisstream.PipelineEvent](r), 2)
}
