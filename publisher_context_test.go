package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublish_contextThatIsOverSendsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the request is over")
	cancel(cause)
	messages := numbered("m", 3)
	messages[1].SetContext(ctx) // one is enough
	err := publisher.Publish(topic, messages...)
	assert.Equal(t, messages, asPublishError(t, err).Failed)
	assert.ErrorIs(t, err, cause)
	assert.Zero(t, client.Exists(t.Context(), topic).Val())
}

// values is a context that can't be compared.
type values struct {
	context.Context //nolint:containedctx // it is one
	list            []string
}

func TestPublish_takesContextsOfAnyType(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	ctx, cancel := context.WithCancel(t.Context())
	messages := numbered("m", 3)
	for i, msg := range messages {
		msg.SetContext(values{ctx, make([]string, i)})
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	cancel()
	require.ErrorIs(t, publisher.Publish(topic, messages...), context.Canceled)
	assert.Equal(t, uuids(messages), stored(t, client, topic))
}

func TestPublish_contextThatEndsInTheQueueSendsNothing(t *testing.T) {
	t.Parallel()
	var marshaled atomic.Int64
	g := openGated(t, moody{&marshaled})
	const pipelines = 2 // may be under way at the same time
	var first []<-chan error
	for i := range pipelines {
		first = append(first, g.publish(fmt.Sprint("first-", i), 1))
		redistest.Within(t, "a round trip", g.entered)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages := numbered("second", 2)
	messages[1].SetContext(ctx)
	second := publishing(g.publisher, g.topic, messages...)
	third := g.publish("third", 1)
	require.Eventually(t, func() bool { return marshaled.Load() == pipelines+3 }, soon, time.Millisecond)
	cancel()
	err := redistest.Within(t, "Publish", second)
	assert.Equal(t, messages, asPublishError(t, err).Failed)
	assert.ErrorIs(t, err, context.Canceled)

	g.open()
	for _, call := range first {
		require.NoError(t, redistest.Within(t, "Publish", call))
	}
	require.NoError(t, redistest.Within(t, "Publish", third), "who came later is not affected")
	assert.ElementsMatch(t, []string{"first-0-0", "first-1-0", "third-0"}, stored(t, g.client, g.topic))
}

func TestPublish_contextThatEndsAfterwardsChangesNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		messages := numbered(fmt.Sprint(i), 2)
		messages[0].SetContext(ctx)
		messages[1].SetContext(ctx)
		require.NoError(t, publisher.Publish(topic, messages...))
		cancel()
	}
	assert.Len(t, stored(t, client, topic), 100)
}
