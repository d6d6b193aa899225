package redisstreamotel

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Middleware returns a middleware for Watermill's Router that makes a span "process TOPIC" of each
// delivery: from the call of the handler until it returns. Its parent is the span whose context is
// in the message, to which it is also linked. See WithLinkedTraces for a trace of its own.
//
// From then on the context of the message has the span, and the baggage of the producer. What the
// handler publishes with it belongs to the span, and so do the messages that the handler returns,
// unless their contexts have a span already. Watermill's Router publishes those after the process
// span has ended: an error of that is in their own spans.
//
// The status is that of the handler's error, or of its panic, which goes on. A message that is
// redelivered has a span for each delivery, linked to that of the delivery before, if that was in
// this process: the middleware remembers the last 4,096 to 8,192 that failed. The process span of a
// dead letter is linked to the last delivery of its entry in the same way. So use one Middleware for
// all handlers.
//
// Add it first, so that it sees what RetryLater and others decide and the panics that Recoverer
// makes errors:
//
//	router.AddMiddleware(redisstreamotel.Middleware(), retry.Middleware, middleware.Recoverer)
//
// Code without a Router calls the function that it returns for a handler. A message of another
// Pub/Sub passes without a span, and so does one that another Middleware has a span of.
func Middleware(options ...Option) message.HandlerMiddleware {
	p := &processor{tracing: newTracing(options)}
	return func(handler message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return p.handle(handler, msg) }
	}
}

// processor makes process spans.
type processor struct {
	*tracing

	failed attempts
}

func (p *processor) handle(handler message.HandlerFunc, msg *message.Message) ([]*message.Message, error) {
	entry, ok := redisstream.EntryFromContext(msg.Context())
	if !ok {
		return handler(msg)
	}
	call := &handling{processor: p, msg: msg, of: attemptOf(entry, msg)}
	call.isLetter = call.of.stream != entry.Stream
	call.ambient = trace.SpanContextFromContext(msg.Context())
	if before, ok := msg.Context().Value(handlingKey{}).(*handling); ok && before.of == call.of {
		if !before.ended.Load() { // another Middleware has a span of it
			return handler(msg)
		}
		call.ambient = before.ambient // a Retry around this middleware calls it again
	}
	call.begin(entry)
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		call.panicked(cause)
		if cause != nil {
			panic(cause)
		}
	}()
	produced, err := handler(msg)
	returned = true
	call.end(err)
	call.adopt(produced)
	return produced, err
}

// handlingKey is the key of a handler's context for the handling.
type handlingKey struct{}

// handling is one call of a handler.
type handling struct {
	*processor

	msg      *message.Message
	of       attempt
	isLetter bool              // a dead letter: its entry may still be retried
	ambient  trace.SpanContext // in the context of the subscription
	creation trace.SpanContext // in the message
	ctx      context.Context   //nolint:containedctx // the handler's
	span     trace.Span
	ended    atomic.Bool
}

// begin starts the span, and gives the message its context. The message keeps that: the handler may
// have started goroutines that read it.
func (h *handling) begin(entry redisstream.Entry) {
	ctx := h.msg.Context()
	if trace.SpanContextFromContext(ctx).IsValid() { // no parent
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	ctx = h.propagator().Extract(ctx, propagation.MapCarrier(h.msg.Metadata))
	h.creation = trace.SpanContextFromContext(ctx)
	options := make([]trace.SpanStartOption, 0, 4) //nolint:mnd // as many as there can be
	options = appendLink(options, h.creation, LinkCreation)
	options = appendLink(options, h.failed.get(h.of), LinkPreviousAttempt)
	options = appendLink(options, h.ambient, LinkAmbient)
	if h.linked {
		options = append(options, trace.WithNewRoot())
	}
	ctx = context.WithValue(ctx, handlingKey{}, h)
	h.ctx, h.span = h.start(ctx, operation{process, entry.Stream, trace.SpanKindConsumer}, options...)
	h.msg.SetContext(h.ctx)
	if !h.span.IsRecording() {
		return
	}
	describe(h.span, h.msg)
	h.span.SetAttributes(EntryIDKey.String(entry.ID), DeliveryAttemptKey.Int64(entry.Deliveries))
	if entry.Group != "" {
		h.span.SetAttributes(semconv.MessagingConsumerGroupName(entry.Group), semconv.MessagingClientID(entry.Consumer))
	}
}

// end ends the span when the handler has returned.
func (h *handling) end(err error) {
	nacked := err != nil || isClosed(h.msg.Nacked())
	if nacked && err == nil { // the handler has nacked it
		err = redisstream.RecordedError(h.ctx)
	}
	if err != nil {
		fail(h.span, err)
	}
	switch {
	case nacked && !isClosed(h.msg.Acked()):
		h.notHandled()
	case !h.isLetter:
		h.failed.forget(h.of)
	}
	h.finish()
}

func (h *handling) finish() {
	h.span.End()
	h.ended.Store(true)
}

var errGoexit = errors.New("the handler ended its goroutine")

// panicked ends the span of a handler that panicked. A nil cause: it ended its goroutine.
func (h *handling) panicked(cause any) {
	err, ok := cause.(error)
	switch {
	case cause == nil:
		err = errGoexit
	case !ok:
		err = fmt.Errorf("%v", cause)
	}
	h.span.RecordError(err, trace.WithStackTrace(true))
	fail(h.span, fmt.Errorf("panic: %w", err))
	if cause != nil {
		h.span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
	}
	h.notHandled()
	h.finish()
}

// notHandled records what comes next, as far as the handler has decided it.
func (h *handling) notHandled() {
	outcome := OutcomeRedeliver
	if wait, ok := redisstream.RecordedRetry(h.ctx); ok {
		outcome = OutcomeRetry
		h.span.SetAttributes(RetryDelayKey.Float64(wait.Seconds()))
	}
	if redisstream.RecordedReject(h.ctx) {
		outcome = OutcomeDeadLetter
	}
	h.span.SetAttributes(OutcomeKey.String(outcome))
	if span := h.span.SpanContext(); span.IsValid() {
		h.failed.put(h.of, span)
	}
}

// adopt makes produced messages that have no span of their own children of the span. What else is in
// their contexts stays.
func (h *handling) adopt(produced []*message.Message) {
	for _, msg := range produced {
		if msg == nil || trace.SpanContextFromContext(msg.Context()).IsValid() {
			continue
		}
		ctx := context.WithValue(trace.ContextWithSpan(msg.Context(), h.span), handlingKey{}, h)
		if inherited := baggage.FromContext(h.ctx); inherited.Len() > 0 && baggage.FromContext(ctx).Len() == 0 {
			ctx = baggage.ContextWithBaggage(ctx, inherited)
		}
		msg.SetContext(ctx)
	}
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

// linkTo returns a link that tells why it is there.
func linkTo(span trace.SpanContext, why string, attributes ...attribute.KeyValue) trace.Link {
	return trace.Link{SpanContext: span, Attributes: append(attributes, LinkKey.String(why))}
}

func appendLink(options []trace.SpanStartOption, span trace.SpanContext, why string) []trace.SpanStartOption {
	if span.IsValid() {
		options = append(options, trace.WithLinks(linkTo(span, why)))
	}
	return options
}
