package redisstreamotel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

var errMilk = errors.New("out of milk")

// The handler's context has the span, which has the producer's as its parent.
func TestMiddleware_process(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	inside := make(chan trace.SpanContext, 1)
	b.consume(func(msg *message.Message) error {
		inside <- trace.SpanContextFromContext(msg.Context())
		return nil
	})
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessage("uuid", []byte("coffee"))))
	publish, process := b.only("publish "+b.Topic), b.only("process "+b.Topic)
	childOf(t, process, publish.SpanContext)
	assert.Equal(t, []string{"creation"}, linksTo(process, publish.SpanContext))
	assert.Len(t, process.Links, 1)
	assert.Equal(t, trace.SpanKindConsumer, process.SpanKind)
	assert.Equal(t, codes.Unset, process.Status.Code)
	assert.Equal(t, process.SpanContext.SpanID(), redistest.Within(t, "the handler", inside).SpanID())
	attributes := values(process.Attributes)
	assert.NotEmpty(t, attributes["messaging.client.id"])
	delete(attributes, "messaging.client.id")
	assert.Equal(t, map[string]any{
		"messaging.system": "redis", "messaging.operation.name": "process", "messaging.operation.type": "process",
		"messaging.destination.name": b.Topic, "messaging.message.id": "uuid", "messaging.message.body.size": int64(6),
		"messaging.consumer.group.name":            "g",
		"messaging.redis.message.entry_id":         b.Client.XRange(t.Context(), b.Topic, "-", "+").Val()[0].ID,
		"messaging.redis.message.delivery_attempt": int64(1),
	}, attributes)
}

// deliver calls the middleware for a message of an entry, as the Router does.
func deliver(msg *message.Message, handler message.HandlerFunc, middlewares ...message.HandlerMiddleware) ([]*message.Message, error) {
	msg.SetContext(redisstream.ContextWithEntry(msg.Context(), redisstream.Entry{Stream: "orders", ID: "1-1", Group: "g", Consumer: "c", Deliveries: 1}))
	for _, middleware := range slices.Backward(middlewares) {
		handler = middleware(handler)
	}
	return handler(msg)
}

func ok(*message.Message) ([]*message.Message, error) { return nil, nil }

func TestMiddleware_linkedTraces(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	ctx, ambient := b.start("ambient")
	msg := message.NewMessageWithContext(ctx, "m", nil)
	msg.Metadata.Set("traceparent", foreign)
	_, err := deliver(msg, ok, redisstreamotel.Middleware(b.options(redisstreamotel.WithLinkedTraces())...))
	require.NoError(t, err)
	process := b.only("process orders")
	assert.False(t, process.Parent.IsValid())
	assert.Equal(t, []string{"ambient"}, linksTo(process, ambient.SpanContext()))
	require.Len(t, process.Links, 2)
	assert.Equal(t, foreignTrace, process.Links[0].SpanContext.TraceID().String())
	assert.NotEqual(t, foreignTrace, process.SpanContext.TraceID().String())
}

// The span in the context of Subscribe is no parent: it would collect all messages.
func TestMiddleware_ambientSpan(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	ctx, ambient := b.start("ambient")
	for _, traceparent := range []string{"", foreign} {
		msg := message.NewMessageWithContext(ctx, "m", nil)
		msg.Metadata.Set("traceparent", traceparent)
		_, err := deliver(msg, ok, redisstreamotel.Middleware(b.options()...))
		require.NoError(t, err)
	}
	spans := b.await("process orders", 2)
	assert.False(t, spans[0].Parent.IsValid())
	assert.Equal(t, foreignSpan, spans[1].Parent.SpanID().String())
	for _, process := range spans {
		assert.NotEqual(t, ambient.SpanContext().TraceID(), process.SpanContext.TraceID())
		assert.Equal(t, []string{"ambient"}, linksTo(process, ambient.SpanContext()))
	}
}

func TestMiddleware_traceparents(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		traceparent     string
		recorded, child bool
	}{
		"foreign":     {foreign, true, true},
		"invalid":     {"00-x", true, false},
		"none":        {"", true, false},
		"sampled out": {"00-" + foreignTrace + "-" + foreignSpan + "-00", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTraced(t)
			msg := message.NewMessage("m", nil)
			msg.Metadata.Set("traceparent", test.traceparent)
			var inside trace.SpanContext
			_, err := deliver(msg, func(msg *message.Message) ([]*message.Message, error) {
				inside = trace.SpanContextFromContext(msg.Context())
				return nil, b.publisher().Publish(b.Topic, message.NewMessageWithContext(msg.Context(), "next", nil))
			}, redisstreamotel.Middleware(b.options()...))
			require.NoError(t, err)
			assert.Equal(t, test.recorded, inside.IsSampled())
			assert.Equal(t, test.child, inside.TraceID().String() == foreignTrace)
			assert.Equal(t, inside.TraceID(), remote(b.stored(b.Topic)[0]).TraceID())
			assert.Equal(t, test.recorded, remote(b.stored(b.Topic)[0]).IsSampled(), "the decision goes on")
			assert.Len(t, b.named("process orders"), map[bool]int{true: 1}[test.recorded])
		})
	}
}

// A message of another Pub/Sub, and a second middleware, make no span.
func TestMiddleware_passes(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	first, second := redisstreamotel.Middleware(b.options()...), redisstreamotel.Middleware(b.options()...)
	_, err := first(ok)(message.NewMessage("m", nil))
	require.NoError(t, err)
	assert.Empty(t, b.exporter.GetSpans())
	_, err = deliver(message.NewMessage("m", nil), ok, first, second)
	require.NoError(t, err)
	b.only("process orders")
}

// The messages that a handler returns are children of the process span. The context that a handler
// gave to one stays.
func TestMiddleware_producedMessages(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	type key struct{}
	other, otherSpan := b.start("another request")
	router := b.router()
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	var produced []*message.Message
	router.AddHandler("handler", b.Topic, b.Subscriber(retryAtOnce()), b.Topic+":next", publisher, func(msg *message.Message) ([]*message.Message, error) {
		produced = []*message.Message{
			message.NewMessage("plain", nil),
			message.NewMessageWithContext(context.WithValue(context.Background(), key{}, "kept"), "value", nil),
			message.NewMessageWithContext(other, "other", nil),
			message.NewMessageWithContext(msg.Context(), "own", nil),
			msg, // forwarded, with the metadata that it has
			msg.Copy(),
		}
		return produced, nil
	})
	fixture.RunRouter(t, router)
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessage("m", nil)))
	creates, process := b.await("create "+b.Topic+":next", 6), b.only("process "+b.Topic)
	for i, create := range creates {
		parent := process.SpanContext
		if i == 2 {
			parent = otherSpan.SpanContext()
		}
		childOf(t, create, parent)
		assert.Equal(t, create.SpanContext.SpanID(), remote(b.stored(b.Topic + ":next")[i]).SpanID(), "message %d", i)
	}
	assert.Equal(t, "kept", produced[1].Context().Value(key{}))
}

// The baggage of the producer goes on with what a handler returns, unless that has its own.
func TestMiddleware_producedBaggage(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	msg := message.NewMessage("m", nil)
	msg.Metadata = message.Metadata{"traceparent": foreign, "baggage": "tenant=north"}
	own, err := baggage.Parse("tenant=south")
	require.NoError(t, err)
	produced, err := deliver(msg, func(*message.Message) ([]*message.Message, error) {
		return []*message.Message{
			message.NewMessage("a", nil), message.NewMessageWithContext(baggage.ContextWithBaggage(context.Background(), own), "b", nil), nil,
		}, nil
	}, redisstreamotel.Middleware(b.options()...))
	require.NoError(t, err)
	require.NoError(t, b.publisher().Publish(b.Topic, produced[:2]...))
	stored := b.stored(b.Topic)
	assert.Equal(t, "tenant=north", stored[0].Metadata.Get("baggage"))
	assert.Equal(t, "tenant=south", stored[1].Metadata.Get("baggage"))
}

// CreateSpans leaves a trace context of the handler as it is, and makes no copy where there is none.
func TestCreateSpans(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	custom, plain := message.NewMessage("custom", nil), message.NewMessage("plain", nil)
	custom.Metadata.Set("traceparent", foreign)
	other, otherSpan := b.start("another request")
	returns := func(*message.Message) ([]*message.Message, error) {
		return []*message.Message{custom, plain, nil, message.NewMessageWithContext(other, "other", nil)}, nil
	}
	produced, err := deliver(message.NewMessage("m", nil), returns, redisstreamotel.CreateSpans(b.options()...))
	require.NoError(t, err)
	assert.Same(t, custom, produced[0])
	assert.True(t, remote(produced[1]).IsValid())
	assert.Empty(t, plain.Metadata)
	assert.Nil(t, produced[2])
	assert.Equal(t, otherSpan.SpanContext().TraceID(), remote(produced[3]).TraceID())
	assert.Len(t, b.exporter.GetSpans(), 2)

	produced, err = deliver(message.NewMessage("m", nil), returns, redisstreamotel.CreateSpans(redisstreamotel.WithTracerProvider(noop.NewTracerProvider())))
	require.NoError(t, err)
	assert.Same(t, plain, produced[1])

	_, err = deliver(message.NewMessage("m", nil), func(*message.Message) ([]*message.Message, error) { return nil, errMilk },
		redisstreamotel.CreateSpans(b.options()...))
	require.ErrorIs(t, err, errMilk)
}

// A handler that fails, nacks itself, or panics: the status says so.
func TestMiddleware_failures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler            message.NoPublishHandlerFunc
		errorType, outcome string
		events             int
	}{
		"error":             {func(*message.Message) error { return fmt.Errorf("brew: %w", errMilk) }, "*errors.errorString", "redeliver", 0},
		"error after ack":   {func(msg *message.Message) error { msg.Ack(); return errMilk }, "*errors.errorString", "", 0},
		"nack with reason":  {func(msg *message.Message) error { redisstream.NackWithReason(msg, errMilk); return nil }, "*errors.errorString", "redeliver", 0},
		"reject":            {func(msg *message.Message) error { redisstream.Reject(msg, errMilk); return errMilk }, "*errors.errorString", "dead_letter", 0},
		"retry later":       {func(msg *message.Message) error { redisstream.RetryAfter(msg, 1500e6); return errMilk }, "*errors.errorString", "retry", 0},
		"deadline":          {func(*message.Message) error { return context.DeadlineExceeded }, "deadline_exceeded", "redeliver", 0},
		"network":           {func(*message.Message) error { return fmt.Errorf("read: %w", os.ErrDeadlineExceeded) }, "timeout", "redeliver", 0},
		"panic":             {func(*message.Message) error { panic("out of ink") }, "panic", "redeliver", 1},
		"panic of an error": {func(*message.Message) error { panic(errMilk) }, "panic", "redeliver", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTraced(t)
			msg := message.NewMessage("m", nil)
			call := func() {
				_, _ = deliver(msg, func(msg *message.Message) ([]*message.Message, error) { return nil, test.handler(msg) },
					redisstreamotel.Middleware(b.options()...))
			}
			if test.errorType == "panic" {
				assert.Panics(t, call, "the panic goes on, as without the middleware")
			} else {
				call()
			}
			process := b.only("process orders")
			failedWith(t, process, test.errorType, test.outcome)
			require.Len(t, process.Events, test.events)
			if test.events > 0 {
				assert.Contains(t, values(process.Events[0].Attributes)["exception.stacktrace"], "middleware_test.go")
			}
			if test.outcome == redisstreamotel.OutcomeRetry {
				assert.InDelta(t, 1.5, values(process.Attributes)["messaging.redis.message.retry_delay"], 0)
			}
		})
	}
}

// A handler that ends its goroutine, as a failing test does, leaves no span open.
func TestMiddleware_goexit(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = deliver(message.NewMessage("m", nil), func(*message.Message) ([]*message.Message, error) {
			runtime.Goexit()
			return nil, nil
		}, redisstreamotel.Middleware(b.options()...))
	}()
	fixture.WaitDone(t, done, "the goroutine ended")
	assert.Equal(t, "panic: the handler ended its goroutine", b.only("process orders").Status.Description)
}

// A panic in a Router's handler reaches a Recoverer that is outside of the middleware with the
// handler's stack.
func TestMiddleware_panicInRouter(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	_, err := deliver(message.NewMessage("m", nil), func(*message.Message) ([]*message.Message, error) { panic("out of ink") },
		middleware.Recoverer, redisstreamotel.Middleware(b.options()...))
	require.ErrorContains(t, err, "out of ink")
	assert.ErrorContains(t, err, "TestMiddleware_panicInRouter.func")
}

// A message that fails is redelivered in the same trace; each delivery is linked to the one before.
func TestMiddleware_redelivery(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	b.consume(func(msg *message.Message) error {
		switch fixture.EntryOf(t, msg).Deliveries {
		case 1:
			return errMilk
		case 2:
			redisstream.RetryAfter(msg, 1)
			panic("out of ink")
		case 3: // waits in the retry queue of the server
			redisstream.RetryOutOfOrder(msg, 200e6)
			return errMilk
		}
		return nil
	})
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessage("m", nil)))
	publish, attempts := b.only("publish "+b.Topic), b.await("process "+b.Topic, 4)
	for i, process := range attempts {
		childOf(t, process, publish.SpanContext)
		assert.Equal(t, int64(i+1), values(process.Attributes)["messaging.redis.message.delivery_attempt"])
		if i > 0 {
			assert.Equal(t, []string{"previous_attempt"}, linksTo(process, attempts[i-1].SpanContext))
			assert.Len(t, process.Links, 2)
		}
	}
	assert.Equal(t, codes.Unset, attempts[3].Status.Code)
	assert.Equal(t, "retry", values(attempts[2].Attributes)["messaging.redis.message.outcome"])
}

// A Retry around the middleware makes a span for each try, one inside of it makes one for all.
func TestMiddleware_retryMiddleware(t *testing.T) {
	t.Parallel()
	retry := middleware.Retry{MaxRetries: 2, InitialInterval: time.Millisecond}.Middleware
	for _, traceparent := range []string{"", foreign} {
		b := newTraced(t)
		trace := redisstreamotel.Middleware(b.options()...)
		msg := message.NewMessage("m", nil)
		msg.Metadata.Set("traceparent", traceparent)
		fails := func(*message.Message) ([]*message.Message, error) { return nil, errMilk }
		_, err := deliver(msg, fails, retry, trace)
		require.ErrorIs(t, err, errMilk)
		tries := b.await("process orders", 3)
		for i, process := range tries {
			assert.Equal(t, tries[0].Parent, process.Parent)
			assert.Empty(t, linksTo(tries[0], process.SpanContext))
			if i > 0 {
				assert.Equal(t, []string{"previous_attempt"}, linksTo(process, tries[i-1].SpanContext))
			}
		}
		b.exporter.Reset()
		_, err = deliver(message.NewMessage("m", nil), fails, trace, retry)
		require.ErrorIs(t, err, errMilk)
		b.only("process orders")
	}
}

// An entry over the delivery limit becomes a dead letter. Whoever reads that is in the trace of the
// producer, linked to the last delivery; and so is the delivery after a retry of the letter.
func TestMiddleware_deadLetter(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	router := b.router(redisstream.RecordError)
	config := retryAtOnce()
	config.MaxDeliveries = 2
	letters := redisstream.DeadLetterTopic(b.Topic)
	var repaired atomic.Bool
	router.AddConsumerHandler("handler", b.Topic, b.Subscriber(config), func(*message.Message) error {
		if repaired.Load() {
			return nil
		}
		return errMilk
	})
	router.AddConsumerHandler("undertaker", letters, b.Subscriber(retryAtOnce()), func(*message.Message) error { return nil })
	fixture.RunRouter(t, router)
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessage("m", nil)))
	letter, attempts, publish := b.only("process "+letters), b.await("process "+b.Topic, 2), b.only("publish "+b.Topic)
	childOf(t, letter, publish.SpanContext)
	assert.Equal(t, []string{"previous_attempt"}, linksTo(letter, attempts[1].SpanContext))
	assert.Empty(t, linksTo(letter, attempts[0].SpanContext))
	assert.NotContains(t, fmt.Sprint(letter.Attributes), errMilk.Error())

	repaired.Store(true)
	id := b.DeadLetters()[0].ID
	_, err := redisstream.RetryDeadLettersByID(t.Context(), b.Client, b.Topic, id)
	require.NoError(t, err)
	retried := b.await("process "+b.Topic, 3)[2]
	childOf(t, retried, publish.SpanContext)
	assert.Equal(t, []string{"previous_attempt"}, linksTo(retried, attempts[1].SpanContext))
}

// A dead letter that is replayed is in the trace of its producer.
func TestMiddleware_replay(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	b.consume(func(msg *message.Message) error {
		if b.Len() == 1 {
			redisstream.Reject(msg, errMilk)
			return errMilk
		}
		return nil
	})
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessage("m", nil)))
	b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 1 })
	_, err := redisstream.ReplayDeadLetters(context.WithoutCancel(t.Context()), b.Client, b.Topic, 10)
	require.NoError(t, err)
	for i, process := range b.await("process "+b.Topic, 2) {
		childOf(t, process, b.only("publish "+b.Topic).SpanContext)
		assert.Equal(t, []string{"dead_letter", ""}[i], outcome(process))
	}
}

// Without a tracer the handler runs as it would, and a trace that came with the message goes on.
func TestMiddleware_noTracer(t *testing.T) {
	t.Parallel()
	msg := message.NewMessage("m", nil)
	msg.Metadata.Set("traceparent", foreign)
	produced, err := deliver(msg, func(msg *message.Message) ([]*message.Message, error) {
		assert.Equal(t, foreignSpan, trace.SpanContextFromContext(msg.Context()).SpanID().String())
		return fixture.Numbered("next", 1), nil
	}, redisstreamotel.Middleware(redisstreamotel.WithTracerProvider(noop.NewTracerProvider())))
	require.NoError(t, err)
	assert.Equal(t, foreignSpan, trace.SpanContextFromContext(produced[0].Context()).SpanID().String())
}

// Samplers see the attributes that the conventions want them to see.
func TestMiddleware_samplerSees(t *testing.T) {
	t.Parallel()
	sampler := samplerFunc(func(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
		decision := sdktrace.RecordAndSample
		if values(p.Attributes)["messaging.destination.name"] == "orders" {
			decision = sdktrace.Drop
		}
		return sdktrace.SamplingResult{Decision: decision}
	})
	b := newTraced(t, sdktrace.WithSampler(sampler))
	_, err := deliver(message.NewMessage("m", nil), ok, redisstreamotel.Middleware(b.options()...))
	require.NoError(t, err)
	assert.Empty(t, b.exporter.GetSpans())
	require.NoError(t, b.publisher().Publish(b.Topic, message.NewMessage("m", nil)))
	b.only("publish " + b.Topic)
}

type samplerFunc func(sdktrace.SamplingParameters) sdktrace.SamplingResult

func (f samplerFunc) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult { return f(p) }

func (samplerFunc) Description() string { return "of a test" }
