package redisstreamotel

import (
	"context"
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const baggageField = "baggage"

// creationIn returns the trace context in the metadata of a message. It is not valid if there is
// none, or none that can be read.
func (t *tracing) creationIn(metadata message.Metadata) trace.SpanContext {
	if len(metadata) == 0 {
		return trace.SpanContext{}
	}
	ctx := t.propagator().Extract(context.Background(), propagation.MapCarrier(metadata))
	return trace.SpanContextFromContext(ctx)
}

// customIn returns the trace context that a caller of Publish put into the metadata, which is kept.
// That of a message which was received, and is published again by its handler, is not the caller's.
func (t *tracing) customIn(msg *message.Message) (creation trace.SpanContext, custom bool) {
	creation = t.creationIn(msg.Metadata)
	if !creation.IsValid() {
		return creation, false
	}
	received, ok := msg.Context().Value(handlingKey{}).(*handling)
	return creation, !ok || received.creation.TraceID() != creation.TraceID() || received.creation.SpanID() != creation.SpanID()
}

// carries reports whether the context has something that propagates.
func carries(ctx context.Context) bool {
	return trace.SpanContextFromContext(ctx).IsValid() || baggage.FromContext(ctx).Len() > 0
}

// inject returns the metadata with the trace context of ctx, and without an old one. Baggage that a
// caller put into the metadata without a trace context stays, unless ctx has some.
func (t *tracing) inject(ctx context.Context, metadata message.Metadata, forwarded bool) message.Metadata {
	injected := make(message.Metadata, len(metadata)+2) //nolint:mnd // traceparent and baggage
	maps.Copy(injected, metadata)
	propagator := t.propagator()
	if len(metadata) > 0 {
		for _, field := range propagator.Fields() {
			if forwarded || field != baggageField {
				delete(injected, field)
			}
		}
	}
	propagator.Inject(ctx, propagation.MapCarrier(injected))
	return injected
}

// copyWith returns a copy of a message, which has its own metadata and context. The caller's message
// stays as it is: it can be published again, and by several goroutines.
func copyWith(ctx context.Context, msg *message.Message, metadata message.Metadata) *message.Message {
	duplicate := &message.Message{UUID: msg.UUID, Metadata: metadata, Payload: msg.Payload}
	duplicate.SetContext(ctx)
	return duplicate
}
