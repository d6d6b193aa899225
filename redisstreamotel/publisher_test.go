package redisstreamotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

func TestPublish_one(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	ctx, parent := b.start("request")
	msg := message.NewMessageWithContext(ctx, "uuid", []byte("coffee"))
	msg.Metadata.Set("customer", "Ann")
	require.NoError(t, b.publisher(redisstreamotel.WithAttributes(attribute.String("server.address", "redis.example"))).Publish(b.Topic, msg))

	span := b.only("publish " + b.Topic)
	childOf(t, span, parent.SpanContext())
	assert.Equal(t, trace.SpanKindProducer, span.SpanKind)
	assert.Equal(t, codes.Unset, span.Status.Code)
	assert.Empty(t, span.Links)
	assert.Equal(t, map[string]any{
		"messaging.system": "redis", "messaging.operation.name": "publish", "messaging.operation.type": "send",
		"messaging.destination.name": b.Topic, "messaging.message.id": "uuid", "messaging.message.body.size": int64(6),
		"server.address": "redis.example",
	}, values(span.Attributes))
	stored := b.stored(b.Topic)[0]
	assert.Equal(t, span.SpanContext.SpanID(), remote(stored).SpanID())
	assert.Equal(t, "Ann", stored.Metadata.Get("customer"))
	assert.Equal(t, message.Metadata{"customer": "Ann"}, msg.Metadata, "the caller's message is as it was")
	assert.Equal(t, parent.SpanContext(), trace.SpanContextFromContext(msg.Context()))
}

// Each message of a call has a create span in its own trace; the call's span is linked to them.
func TestPublish_several(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	ctx, parent := b.start("request")
	messages := fixture.Numbered("m", 3)
	for _, msg := range messages {
		msg.SetContext(ctx)
	}
	require.NoError(t, b.publisher().Publish(b.Topic, messages...))

	send, creates := b.only("publish "+b.Topic), b.await("create "+b.Topic, 3)
	childOf(t, send, parent.SpanContext())
	assert.Equal(t, trace.SpanKindClient, send.SpanKind)
	assert.Equal(t, int64(3), values(send.Attributes)["messaging.batch.message_count"])
	assert.NotContains(t, values(send.Attributes), "messaging.message.id")
	require.Len(t, send.Links, 3)
	for i, create := range creates {
		childOf(t, create, parent.SpanContext())
		assert.Equal(t, trace.SpanKindProducer, create.SpanKind)
		assert.Equal(t, []string{"creation"}, linksTo(send, create.SpanContext))
		attributes := values(create.Attributes)
		assert.Equal(t, fmt.Sprintf("m-%d", i), attributes["messaging.message.id"])
		assert.Equal(t, "create", attributes["messaging.operation.name"])
		assert.Equal(t, "create", attributes["messaging.operation.type"])
		assert.Equal(t, create.SpanContext.SpanID(), remote(b.stored(b.Topic)[i]).SpanID())
	}
}

// The messages of a call come from different requests: each belongs to its own, and the span of the
// call to none of them.
func TestPublish_severalOfDifferentTraces(t *testing.T) {
	t.Parallel()
	for _, options := range [][]redisstreamotel.Option{nil, {redisstreamotel.WithoutCreateSpans()}} {
		b := newTraced(t)
		messages := fixture.Numbered("m", 3)
		parents := make([]trace.SpanContext, len(messages))
		for i, msg := range messages {
			ctx, parent := b.start("request")
			parents[i] = parent.SpanContext()
			msg.SetContext(ctx)
		}
		require.NoError(t, b.publisher(options...).Publish(b.Topic, messages...))
		send, creates := b.only("publish "+b.Topic), b.await("create "+b.Topic, 3)
		assert.False(t, send.Parent.IsValid())
		for i, create := range creates {
			childOf(t, create, parents[i])
			assert.NotEqual(t, parents[i].TraceID(), send.SpanContext.TraceID())
			assert.Equal(t, []string{"creation"}, linksTo(send, create.SpanContext))
			assert.Equal(t, parents[i].TraceID(), remote(b.stored(b.Topic)[i]).TraceID())
		}
	}
}

func TestPublish_withoutCreateSpans(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	require.NoError(t, b.publisher(redisstreamotel.WithoutCreateSpans()).Publish(b.Topic, fixture.Numbered("m", 3)...))
	send := b.only("publish " + b.Topic)
	assert.Equal(t, trace.SpanKindProducer, send.SpanKind)
	assert.Empty(t, send.Links)
	assert.Empty(t, b.named("create "+b.Topic))
	for _, msg := range b.stored(b.Topic) {
		assert.Equal(t, send.SpanContext.SpanID(), remote(msg).SpanID())
	}
}

const (
	foreignTrace = "0af7651916cd43dd8448eb211c80319c"
	foreignSpan  = "b7ad6b7169203331"
	foreign      = "00-" + foreignTrace + "-" + foreignSpan + "-01"
)

// A trace context that the caller put into the metadata stays, and the span is linked to it.
func TestPublish_foreignTraceparent(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	messages := fixture.Numbered("m", 3)
	for _, msg := range messages[:2] {
		msg.Metadata = message.Metadata{"traceparent": foreign, "tracestate": "a=b", "baggage": "k=v"}
	}
	publisher := b.publisher()
	require.NoError(t, publisher.Publish(b.Topic, messages[0]))
	span := b.only("publish " + b.Topic)
	assert.Equal(t, trace.SpanKindClient, span.SpanKind)
	require.Len(t, span.Links, 1)
	assert.Equal(t, foreignSpan, span.Links[0].SpanContext.SpanID().String())

	require.NoError(t, publisher.Publish(b.Topic, messages[1:]...))
	create, send := b.only("create "+b.Topic), b.await("publish "+b.Topic, 2)[1]
	assert.Equal(t, "m-2", values(create.Attributes)["messaging.message.id"])
	require.Len(t, send.Links, 2)
	assert.Equal(t, foreignSpan, send.Links[0].SpanContext.SpanID().String())
	for _, msg := range b.stored(b.Topic)[:2] {
		assert.Equal(t, message.Metadata{"traceparent": foreign, "tracestate": "a=b", "baggage": "k=v"}, msg.Metadata)
	}
}

// A trace context that can't be read is replaced, with what belongs to it. Baggage stays.
func TestPublish_invalidTraceparent(t *testing.T) {
	t.Parallel()
	for _, traceparent := range []string{"", "00-0-0-0", "ff-" + foreignTrace + "-" + foreignSpan + "-01", "00-" + foreignTrace + "-0000000000000000-01", "\x00"} {
		b := newTraced(t)
		msg := message.NewMessage("m", nil)
		msg.Metadata = message.Metadata{"traceparent": traceparent, "tracestate": "a=b", "baggage": "k=v"}
		require.NoError(t, b.publisher().Publish(b.Topic, msg))
		span, stored := b.only("publish "+b.Topic), b.stored(b.Topic)[0]
		assert.Equal(t, span.SpanContext.SpanID(), remote(stored).SpanID(), "%q", traceparent)
		delete(stored.Metadata, "traceparent")
		assert.Equal(t, message.Metadata{"baggage": "k=v"}, stored.Metadata)
	}
}

func TestPublish_sampledOut(t *testing.T) {
	t.Parallel()
	b := newTraced(t, sdktrace.WithSampler(sdktrace.NeverSample()))
	require.NoError(t, b.publisher().Publish(b.Topic, fixture.Numbered("m", 1)...))
	require.NoError(t, b.publisher().Publish(b.Topic, fixture.Numbered("m", 2)...))
	assert.Empty(t, b.exporter.GetSpans())
	for _, msg := range b.stored(b.Topic) {
		require.True(t, remote(msg).IsValid(), "the decision goes with the message")
		assert.False(t, remote(msg).IsSampled())
	}
}

// Without a tracer the caller's messages themselves go on, and a trace that somebody else has begun
// goes with them.
func TestPublish_noTracer(t *testing.T) {
	t.Parallel()
	var got []*message.Message
	publisher := redisstreamotel.NewPublisher(publisherFunc(func(_ string, messages ...*message.Message) error {
		got = messages
		return nil
	}), redisstreamotel.WithTracerProvider(noop.NewTracerProvider()))
	for _, n := range []int{1, 2} {
		messages := fixture.Numbered("m", n)
		require.NoError(t, publisher.Publish("orders", messages...))
		for i := range messages {
			assert.Same(t, messages[i], got[i])
			assert.Empty(t, got[i].Metadata)
		}
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
		for _, msg := range messages {
			msg.SetContext(trace.ContextWithSpanContext(context.Background(), sc))
		}
		require.NoError(t, publisher.Publish("orders", messages...))
		for _, msg := range got {
			assert.Equal(t, sc.SpanID(), remote(msg).SpanID())
		}
	}
}

type publisherFunc func(topic string, messages ...*message.Message) error

func (f publisherFunc) Publish(topic string, messages ...*message.Message) error {
	return f(topic, messages...)
}

func (f publisherFunc) Close() error { return errClosed }

var errClosed = errors.New("closed")

// The decorator is a Publisher like the one below: it closes it, and what is wrong with a call is
// the other's to say.
func TestPublish_passesOn(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	closed := redisstreamotel.NewPublisher(publisherFunc(nil), b.options()...)
	require.ErrorIs(t, closed.Close(), errClosed)
	publisher := b.publisher()
	require.NoError(t, publisher.Publish(b.Topic))
	require.ErrorContains(t, publisher.Publish(b.Topic, message.NewMessage("m", nil), nil), "message 2 of 2: message is nil")
	assert.Empty(t, b.exporter.GetSpans())
}

// A message is published to two topics, again, and by many goroutines: nothing accumulates in it, and
// each stored copy has the context of its own span. The race detector watches.
func TestPublish_sameMessageAgain(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	publisher := b.publisher()
	msg := message.NewMessage("m", []byte("x"))
	msg.Metadata.Set("customer", "Ann")
	before := maps.Clone(msg.Metadata)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { assert.NoError(t, publisher.Publish(b.Topic, msg)) })
		all.Go(func() { assert.NoError(t, publisher.Publish(b.Topic+":copy", msg, msg)) })
	}
	all.Wait()
	assert.Equal(t, before, msg.Metadata)
	ids := map[trace.SpanID]bool{}
	for _, stored := range append(b.stored(b.Topic), b.stored(b.Topic+":copy")...) {
		assert.Len(t, stored.Metadata, 2)
		ids[remote(stored).SpanID()] = true
	}
	assert.Len(t, ids, 60)
}

func TestPublish_baggage(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	member, err := baggage.NewMember("tenant", "north")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	tenants := make(chan string, 1)
	b.consume(func(msg *message.Message) error {
		tenants <- baggage.FromContext(msg.Context()).Member("tenant").Value()
		return nil
	})
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessageWithContext(baggage.ContextWithBaggage(t.Context(), bag), "m", nil)))
	assert.Equal(t, "north", redistest.Within(t, "the handler", tenants))
	for _, span := range []string{"publish ", "process "} {
		assert.NotContains(t, fmt.Sprint(b.only(span+b.Topic).Attributes), "north", "values of metadata are in no attribute")
	}
}

// A delayed message is in the trace of its producer, too.
func TestPublish_delayed(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	b.consume(func(*message.Message) error { return nil })
	msg := message.NewMessage("m", nil)
	delay.Message(msg, delay.For(100*time.Millisecond))
	require.NoError(t, b.publisher().Publish(b.Topic, msg))
	childOf(t, b.only("process "+b.Topic), b.only("publish "+b.Topic).SpanContext)
}

// A call of which one part is published, one lost its reply, and one was not sent: each create span
// has what became of its message, and the error has the caller's messages.
func TestPublish_outcomes(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	messages := fixture.Numbered("m", 3)
	inner := publisherFunc(func(topic string, sent ...*message.Message) error {
		return fmt.Errorf("wrapped: %w", &redisstream.PublishError{
			Topic: topic, Published: sent[:1], Uncertain: sent[1:2], Failed: sent[2:], Err: context.DeadlineExceeded,
		})
	})
	failure := fixture.AsPublishError(t, redisstreamotel.NewPublisher(inner, b.options()...).Publish(b.Topic, messages...))
	assert.Same(t, messages[0], failure.Published[0])
	assert.Same(t, messages[1], failure.Uncertain[0])
	assert.Same(t, messages[2], failure.Failed[0])
	creates := b.await("create "+b.Topic, 3)
	assert.Equal(t, codes.Unset, creates[0].Status.Code)
	assert.NotContains(t, values(creates[0].Attributes), "error.type")
	failedWith(t, creates[1], "deadline_exceeded", redisstreamotel.OutcomeUncertain)
	failedWith(t, creates[2], "deadline_exceeded", redisstreamotel.OutcomeFailed)
	send := b.only("publish " + b.Topic)
	failedWith(t, send, "deadline_exceeded", "")
	counts := values(send.Attributes)
	for _, key := range []attribute.Key{redisstreamotel.PublishedCountKey, redisstreamotel.FailedCountKey, redisstreamotel.UncertainCountKey} {
		assert.Equal(t, int64(1), counts[string(key)], key)
	}
}

// A server refuses, a reply is lost, the Publisher is closed: what the span says of it.
func TestPublish_failures(t *testing.T) {
	t.Parallel()
	t.Run("the server refuses", func(t *testing.T) {
		t.Parallel()
		b := newTraced(t)
		b.Do("SET", b.Topic, "no stream")
		msg := message.NewMessage("m", []byte("secret"))
		failure := fixture.AsPublishError(t, b.publisher().Publish(b.Topic, msg))
		assert.Same(t, msg, failure.Failed[0])
		span := b.only("publish " + b.Topic)
		failedWith(t, span, "WRONGTYPE", redisstreamotel.OutcomeFailed)
		assert.NotContains(t, fmt.Sprint(span), "secret")
	})
	t.Run("the reply is lost", func(t *testing.T) {
		t.Parallel()
		b := newTraced(t)
		proxy := redistest.NewProxy(t, b.Server.Addr, 0)
		client := b.Server.Client(t, func(o *redis.Options) { o.Addr, o.MaxRetries = proxy.Addr, -1 })
		publisher := redisstreamotel.NewPublisher(fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}), b.options()...)
		require.NoError(t, publisher.Publish(b.Topic+":warm", fixture.Numbered("m", 2)...))
		var cut atomic.Bool
		proxy.OnReply(func(chunk []byte) (int, bool) {
			if cut.CompareAndSwap(false, true) {
				return 0, true
			}
			return len(chunk), false
		})
		messages := fixture.Numbered("m", 2)
		failure := fixture.AsPublishError(t, publisher.Publish(b.Topic, messages...))
		require.Len(t, failure.Uncertain, 2)
		for i, create := range b.await("create "+b.Topic, 2) {
			assert.Same(t, messages[i], failure.Uncertain[i])
			failedWith(t, create, values(b.only("publish " + b.Topic).Attributes)["error.type"].(string), redisstreamotel.OutcomeUncertain)
		}
	})
	t.Run("the publisher is closed", func(t *testing.T) {
		t.Parallel()
		b := newTraced(t)
		publisher := b.publisher()
		require.NoError(t, publisher.Close())
		require.ErrorIs(t, publisher.Publish(b.Topic, message.NewMessage("m", nil)), redisstream.ErrPublisherClosed)
		failedWith(t, b.only("publish "+b.Topic), "publisher_closed", redisstreamotel.OutcomeFailed)
	})
	t.Run("another Publisher's error", func(t *testing.T) {
		t.Parallel()
		b := newTraced(t)
		inner := publisherFunc(func(string, ...*message.Message) error { return errClosed })
		publisher := redisstreamotel.NewPublisher(inner, b.options()...)
		require.ErrorIs(t, publisher.Publish(b.Topic, fixture.Numbered("m", 1)...), errClosed)
		require.ErrorIs(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...), errClosed)
		for _, span := range append(b.await("publish "+b.Topic, 2), b.await("create "+b.Topic, 2)...) {
			failedWith(t, span, "*errors.errorString", "")
		}
	})
}
