package publishing

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublish_contextThatIsOverSendsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := fixture.NewTopic(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the request is over")
	cancel(cause)
	messages := fixture.Numbered("m", 3)
	messages[1].SetContext(ctx) // one ended context is enough
	err := publisher.Publish(topic, messages...)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	assert.ErrorIs(t, err, cause)
	assert.Zero(t, client.Exists(t.Context(), topic).Val())
}

// values is a context that is not comparable.
type values struct {
	context.Context //nolint:containedctx // it is a context
	list            []string
}

func TestPublish_takesContextsOfAnyType(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := fixture.NewTopic(t)
	ctx, cancel := context.WithCancel(t.Context())
	messages := fixture.Numbered("m", 3)
	for i, msg := range messages {
		msg.SetContext(values{ctx, make([]string, i)})
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	cancel()
	require.ErrorIs(t, publisher.Publish(topic, messages...), context.Canceled)
	assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, client, topic))
}

func TestPublish_contextThatEndsInTheQueueSendsNothing(t *testing.T) {
	t.Parallel()
	var marshaled atomic.Int64
	g := openGated(t, moody{&marshaled})
	const pipelines = 2 // may be in flight at the same time
	var first []<-chan error
	for i := range pipelines {
		first = append(first, g.publish(fmt.Sprint("first-", i), 1))
		redistest.Within(t, "a round trip", g.entered)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages := fixture.Numbered("second", 2)
	messages[1].SetContext(ctx)
	second := fixture.GoPublish(g.publisher, g.topic, messages...)
	third := g.publish("third", 1)
	require.Eventually(t, func() bool { return marshaled.Load() == pipelines+3 }, fixture.Soon, time.Millisecond)
	cancel()
	err := redistest.Within(t, "Publish", second)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	assert.ErrorIs(t, err, context.Canceled)

	g.open()
	for _, call := range first {
		require.NoError(t, redistest.Within(t, "Publish", call))
	}
	require.NoError(t, redistest.Within(t, "Publish", third), "later calls are not affected")
	assert.ElementsMatch(t, []string{"first-0-0", "first-1-0", "third-0"}, fixture.StoredUUIDs(t, g.client, g.topic))
}

func TestPublish_contextThatEndsAfterwardsChangesNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := fixture.NewTopic(t)
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		messages := fixture.Numbered(fmt.Sprint(i), 2)
		messages[0].SetContext(ctx)
		messages[1].SetContext(ctx)
		require.NoError(t, publisher.Publish(topic, messages...))
		cancel()
	}
	assert.Len(t, fixture.StoredUUIDs(t, client, topic), 100)
}

// A Publish that waits for the server ends with its context. The error has the reason for the wait.
func TestPublish_givesUpAtTheDeadline(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, client.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	messages := fixture.Numbered("late", 2)
	messages[0].SetContext(ctx)
	failure := fixture.AsPublishError(t, publisher.Publish(fixture.NewTopic(t), messages...))
	assert.Equal(t, messages, append(failure.Failed, failure.Uncertain...), "uncertain if the context ended during an attempt")
	assert.ErrorIs(t, failure, context.DeadlineExceeded)
	assert.ErrorContains(t, failure, "READONLY")
}

// counting is a Marshaler that counts.
type counting struct {
	redisstream.MsgpackMarshaler
	calls *atomic.Int64
}

func (c counting) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	defer c.calls.Add(1)
	return c.MsgpackMarshaler.Marshal(topic, msg)
}

// A hook of the client sees the context of a caller in a round trip for that caller only. What several
// share belongs to none of them: an instrumentation would put it into the trace of the first.
func TestPublish_hooksSeeTheContextOfTheirOwnCallOnly(t *testing.T) {
	t.Parallel()
	type key struct{}
	const callers = 20
	var marshaled atomic.Int64
	g := openGated(t, counting{calls: &marshaled})
	results := make([]<-chan error, callers)
	for i, msg := range fixture.Numbered("m", callers) {
		msg.SetContext(context.WithValue(context.Background(), key{}, i))
		results[i] = fixture.GoPublish(g.publisher, g.topic, msg)
	}
	// The calls are in the queue, or about to be queued.
	require.Eventually(t, func() bool { return marshaled.Load() == callers }, fixture.Soon, time.Millisecond)
	g.open()
	for _, result := range results {
		require.NoError(t, redistest.Within(t, "Publish", result))
	}
	_, largest := g.roundTrips()
	require.Greater(t, largest, 1, "calls share a round trip")
	for i, ctx := range g.contexts {
		if g.sizes[i] == 1 {
			assert.NotNil(t, ctx.Value(key{}))
		} else {
			assert.Nil(t, ctx.Value(key{}), "a round trip of %d calls", g.sizes[i])
		}
	}
}
