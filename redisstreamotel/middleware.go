package redisstreamotel

import (
	"context"
	"errors"
	"fmt"

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
// The context of the message has the span and the baggage of the producer while the handler runs.
// What the handler publishes with it belongs to the span, and so do the messages that the handler
// returns, unless their contexts have a span already.
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
	before := msg.Context()
	entry, ok := redisstream.EntryFromContext(before)
	if _, nested := before.Value(receivedKey{}).(trace.SpanContext); nested || !ok {
		return handler(msg)
	}
	call := &handling{processor: p, msg: msg, of: attemptOf(entry, msg)}
	call.begin(before, entry)
	msg.SetContext(call.ctx)
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		msg.SetContext(before)
		call.panicked(cause)
		if cause != nil {
			panic(cause)
		}
	}()
	produced, err := handler(msg)
	returned = true
	msg.SetContext(before)
	call.end(err)
	call.adopt(produced)
	return produced, err
}

// handling is one call of a handler.
type handling struct {
	*processor

	msg  *message.Message
	of   attempt
	ctx  context.Context //nolint:containedctx // the handler's
	span trace.Span
}

// begin starts the span.
func (h *handling) begin(before context.Context, entry redisstream.Entry) {
	ambient := trace.SpanContextFromContext(before)
	ctx := before
	if ambient.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	ctx = h.propagator().Extract(ctx, propagation.MapCarrier(h.msg.Metadata))
	creation := trace.SpanContextFromContext(ctx)
	options := make([]trace.SpanStartOption, 0, 4) //nolint:mnd // as many as there can be
	options = appendLink(options, creation, LinkCreation)
	options = appendLink(options, h.failed.get(h.of), LinkPreviousAttempt)
	options = appendLink(options, ambient, LinkAmbient)
	if h.linked {
		options = append(options, trace.WithNewRoot())
	}
	ctx = context.WithValue(ctx, receivedKey{}, creation)
	h.ctx, h.span = h.start(ctx, operation{process, entry.Stream, trace.SpanKindConsumer}, options...)
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
	if nacked && !isClosed(h.msg.Acked()) {
		h.notHandled()
	} else {
		h.failed.forget(h.of)
	}
	h.span.End()
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
	h.span.End()
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
		switch {
		case msg == nil:
		case msg == h.msg: // forwarded
			msg.SetContext(h.ctx)
		case !trace.SpanContextFromContext(msg.Context()).IsValid():
			ctx := trace.ContextWithSpan(msg.Context(), h.span)
			ctx = context.WithValue(ctx, receivedKey{}, h.ctx.Value(receivedKey{}))
			if inherited := baggage.FromContext(h.ctx); inherited.Len() > 0 && baggage.FromContext(ctx).Len() == 0 {
				ctx = baggage.ContextWithBaggage(ctx, inherited)
			}
			msg.SetContext(ctx)
		}
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
