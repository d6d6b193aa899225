package redisstreamotel_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

// roundTrip is one round trip with XADD commands, as an instrumentation of the client sees it.
type roundTrip struct {
	commands int
	span     trace.SpanContext // to which its span would belong
}

// roundTrips records round trips. They wait until open is closed; nil: they don't.
type roundTrips struct {
	mu   sync.Mutex
	seen []roundTrip
	open chan struct{}
}

func (r *roundTrips) see(ctx context.Context, commands []redis.Cmder) {
	r.mu.Lock()
	r.seen = append(r.seen, roundTrip{len(commands), trace.SpanContextFromContext(ctx)})
	r.mu.Unlock()
	if r.open != nil {
		<-r.open
	}
}

// Many requests publish at the same time, so that their calls share a pipeline. Each span is a child
// of its own request, each stored message has the trace of its request, and a span that an
// instrumentation of the client makes of the pipeline belongs to none of them.
func TestPublish_sharedPipeline(t *testing.T) {
	t.Parallel()
	const requests = 20
	b := newTraced(t)
	hook := &roundTrips{open: make(chan struct{})}
	b.Client.AddHook(fixture.BeforeXAdd(hook.see))
	library := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	var calls atomic.Int64
	publisher := redisstreamotel.NewPublisher(publisherFunc(func(topic string, messages ...*message.Message) error {
		calls.Add(1)
		return library.Publish(topic, messages...)
	}), b.options()...)
	parents := map[string]trace.SpanContext{}
	var all sync.WaitGroup
	for _, uuid := range fixture.UUIDs(fixture.Numbered("m", requests)) {
		ctx, parent := b.start("request")
		parents[uuid] = parent.SpanContext()
		all.Go(func() { assert.NoError(t, publisher.Publish(b.Topic, message.NewMessageWithContext(ctx, uuid, nil))) })
	}
	b.Eventually("all calls are under way", func() bool { return calls.Load() == requests })
	close(hook.open)
	all.Wait()

	spans := b.await("publish "+b.Topic, requests)
	for _, span := range spans {
		childOf(t, span, parents[values(span.Attributes)["messaging.message.id"].(string)])
	}
	stored := b.stored(b.Topic)
	require.Len(t, stored, requests)
	for _, msg := range stored {
		assert.Equal(t, parents[msg.UUID].TraceID(), remote(msg).TraceID())
	}
	shared := 0
	for _, trip := range hook.seen {
		if trip.commands > 1 {
			shared += trip.commands
			assert.False(t, trip.span.IsValid(), "a pipeline that calls share is in the trace of none")
		} else {
			assert.True(t, trip.span.IsValid())
		}
	}
	assert.Greater(t, shared, 1)
}

// A span that an instrumentation of the client makes of the round trip of one call is a child of the
// call's span.
func TestPublish_ownPipeline(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	hook := new(roundTrips)
	b.Client.AddHook(fixture.BeforeXAdd(hook.see))
	publisher := b.publisher()
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 1)...))
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 3)...))
	for i, span := range b.await("publish "+b.Topic, 2) {
		assert.Equal(t, span.SpanContext.SpanID(), hook.seen[i].span.SpanID())
	}
}
