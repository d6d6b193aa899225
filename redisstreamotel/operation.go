package redisstreamotel

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Names of operations. Each is the first word of a span's name.
const (
	create  = "create"
	publish = "publish"
	process = "process"
)

// types has the operation type of each name.
var types = map[string]attribute.KeyValue{
	create:  semconv.MessagingOperationTypeCreate,
	publish: semconv.MessagingOperationTypeSend,
	process: semconv.MessagingOperationTypeProcess,
}

// operation identifies the spans that begin alike.
type operation struct {
	name  string
	topic string
	kind  trace.SpanKind
}

// beginning is what such spans begin with: what samplers see.
type beginning struct {
	name    string
	options []trace.SpanStartOption
}

// maxBeginnings is how many beginnings are kept.
const maxBeginnings = 1024

// beginnings keeps the beginnings of operations, which cost more than all else where nothing is
// recorded.
type beginnings struct {
	mu   sync.RWMutex
	kept map[operation]beginning
}

// start starts a span.
func (t *tracing) start(ctx context.Context, of operation, more ...trace.SpanStartOption) (context.Context, trace.Span) {
	with := t.beginning(of)
	options := with.options
	if len(more) > 0 {
		options = append(slices.Clip(options), more...)
	}
	return t.tracer.Start(ctx, with.name, options...) //nolint:spancheck // the caller ends it
}

func (t *tracing) beginning(of operation) beginning {
	t.begin.mu.RLock()
	found, ok := t.begin.kept[of]
	t.begin.mu.RUnlock()
	if ok {
		return found
	}
	with := trace.WithAttributes(append(slices.Clip(t.attributes),
		semconv.MessagingOperationName(of.name), types[of.name], semconv.MessagingDestinationName(of.topic))...)
	found = beginning{of.name + " " + of.topic, []trace.SpanStartOption{with, trace.WithSpanKind(of.kind)}}
	t.begin.mu.Lock()
	defer t.begin.mu.Unlock()
	if t.begin.kept == nil || len(t.begin.kept) >= maxBeginnings {
		t.begin.kept = make(map[operation]beginning)
	}
	t.begin.kept[of] = found
	return found
}
