package redisstreamotel_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// traced is a test with a stream of its own, whose spans are kept.
type traced struct {
	*fixture.Bench
	exporter *tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
}

func newTraced(t *testing.T, options ...sdktrace.TracerProviderOption) *traced {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSyncer(exporter))...)
	return &traced{Bench: fixture.New(t), exporter: exporter, provider: provider}
}

// options are those that all tests need, and more.
func (b *traced) options(more ...redisstreamotel.Option) []redisstreamotel.Option {
	return append(more, redisstreamotel.WithTracerProvider(b.provider),
		redisstreamotel.WithPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))
}

// publisher returns a traced Publisher.
func (b *traced) publisher(options ...redisstreamotel.Option) message.Publisher {
	return redisstreamotel.NewPublisher(fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client}), b.options(options...)...)
}

// router returns a Router with the middleware, which comes before others, and with traced
// publishers.
func (b *traced) router(others ...message.HandlerMiddleware) *message.Router {
	router := fixture.NewRouter(b.T, message.RouterConfig{}, new(redistest.Log))
	router.AddMiddleware(redisstreamotel.Middleware(b.options()...))
	router.AddMiddleware(others...)
	router.AddPublisherDecorators(redisstreamotel.PublisherDecorator(b.options()...))
	return router
}

// consume runs a Router with one handler of the topic in the group "g".
func (b *traced) consume(handler message.NoPublishHandlerFunc) {
	b.Helper()
	router := b.router()
	router.AddConsumerHandler("handler", b.Topic, b.Subscriber(retryAtOnce()), handler)
	fixture.RunRouter(b.T, router)
}

func retryAtOnce() redisstream.SubscriberConfig {
	config := fixture.FastClaimConfig()
	config.NackBackoff = func(int) time.Duration { return 0 }
	return config
}

// start starts a span of the test.
func (b *traced) start(name string) (context.Context, trace.Span) {
	return b.provider.Tracer("test").Start(context.WithoutCancel(b.Context()), name) //nolint:spancheck // a parent needs no end
}

// await waits until n spans with this name have ended, and returns them in the order of their starts.
func (b *traced) await(name string, n int) tracetest.SpanStubs {
	b.Helper()
	var found tracetest.SpanStubs
	b.Eventually(name, func() bool { found = b.named(name); return len(found) >= n })
	require.Len(b, found, n, name)
	return found
}

func (b *traced) named(name string) (found tracetest.SpanStubs) {
	for _, span := range b.exporter.GetSpans() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	slices.SortStableFunc(found, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	return found
}

// only returns the one span with this name.
func (b *traced) only(name string) tracetest.SpanStub {
	b.Helper()
	return b.await(name, 1)[0]
}

// values returns the attributes of a span or a link by their keys.
func values(attributes []attribute.KeyValue) map[string]any {
	found := make(map[string]any, len(attributes))
	for _, kv := range attributes {
		found[string(kv.Key)] = kv.Value.AsInterface()
	}
	return found
}

// linksTo returns why a span is linked to another, in the order of the links.
func linksTo(from tracetest.SpanStub, to trace.SpanContext) (why []string) {
	for _, link := range from.Links {
		if link.SpanContext.SpanID() == to.SpanID() && link.SpanContext.TraceID() == to.TraceID() {
			why = append(why, values(link.Attributes)[string(redisstreamotel.LinkKey)].(string))
		}
	}
	return why
}

func childOf(t *testing.T, child tracetest.SpanStub, parent trace.SpanContext) {
	t.Helper()
	assert.Equal(t, parent.TraceID(), child.SpanContext.TraceID(), "trace of %s", child.Name)
	assert.Equal(t, parent.SpanID(), child.Parent.SpanID(), "parent of %s", child.Name)
}

// failedWith checks the status of a span.
func failedWith(t *testing.T, span tracetest.SpanStub, errorType, result string) {
	t.Helper()
	assert.Equal(t, codes.Error, span.Status.Code)
	assert.Equal(t, errorType, values(span.Attributes)["error.type"])
	assert.Equal(t, result, outcome(span))
}

// outcome returns what a span says of its message; empty: nothing.
func outcome(span tracetest.SpanStub) string {
	text, _ := values(span.Attributes)[string(redisstreamotel.OutcomeKey)].(string)
	return text
}

// stored returns the messages in a stream.
func (b *traced) stored(topic string) []*message.Message {
	b.Helper()
	entries, err := b.Client.XRange(context.WithoutCancel(b.Context()), topic, "-", "+").Result()
	require.NoError(b, err)
	messages := make([]*message.Message, len(entries))
	for i, entry := range entries {
		messages[i], err = redisstream.MsgpackMarshaler{}.Unmarshal(entry.ID, entry.Values)
		require.NoError(b, err)
	}
	return messages
}

// remote returns the trace context in the metadata of a message.
func remote(msg *message.Message) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(msg.Metadata))
	return trace.SpanContextFromContext(ctx)
}
