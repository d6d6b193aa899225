package redisstreamotel

import (
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation.
const scope = "github.com/millrace/redisstream/redisstreamotel"

// Option changes how spans are made.
type Option func(*tracing)

// WithTracerProvider sets where spans go. Set it where the process has several providers, and in
// tests. Defaults to otel.GetTracerProvider().
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(t *tracing) { t.provider = provider }
}

// WithPropagator sets how the trace context is written to metadata and read from it. Set it where
// other services use another format, such as B3. A composite of none propagates nothing. Defaults to
// otel.GetTextMapPropagator(), and to W3C trace context and baggage as long as that has no fields.
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(t *tracing) { t.fixed = propagator }
}

// WithAttributes adds attributes to every span, such as server.address and server.port. Defaults to
// none.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return func(t *tracing) { t.attributes = append(t.attributes, attributes...) }
}

// WithLinkedTraces makes each process span the root of a trace of its own, which is linked to the
// span of the message's producer. Use it where one trace of everything that follows from a message
// gets too large, or where the consumer's own sampler is to decide. Publishers ignore it. Defaults
// to off: the process span is a child of the producer's.
func WithLinkedTraces() Option {
	return func(t *tracing) { t.linked = true }
}

// WithoutCreateSpans makes one span for a call of Publish with several messages, instead of one for
// each message and one for the call: it is the parent of what all their consumers do. Use it where
// calls have hundreds of messages. A call whose messages belong to different spans keeps its create
// spans, so that no message gets into another's trace. Defaults to off.
func WithoutCreateSpans() Option {
	return func(t *tracing) { t.withoutCreate = true }
}

// tracing is what the options say.
type tracing struct {
	provider      trace.TracerProvider
	tracer        trace.Tracer
	fixed         propagation.TextMapPropagator // nil: the global one
	globalIsSet   atomic.Bool
	attributes    []attribute.KeyValue // of every span
	begin         beginnings
	linked        bool
	withoutCreate bool
}

func newTracing(options []Option) *tracing {
	t := &tracing{attributes: []attribute.KeyValue{semconv.MessagingSystemKey.String("redis")}}
	for _, option := range options {
		option(t)
	}
	if t.provider == nil {
		t.provider = otel.GetTracerProvider()
	}
	t.tracer = t.provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	return t
}

var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// propagator returns the configured propagator. The global one may be set after this package is
// used.
func (t *tracing) propagator() propagation.TextMapPropagator {
	if t.fixed != nil {
		return t.fixed
	}
	global := otel.GetTextMapPropagator()
	if !t.globalIsSet.Load() {
		if len(global.Fields()) == 0 {
			return w3c
		}
		t.globalIsSet.Store(true)
	}
	return global
}
