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
	process := &process{processor: p, msg: msg, of: attemptOf(entry, msg)}
	process.start(before, entry)
	msg.SetContext(process.ctx)
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		msg.SetContext(before)
		process.panicked(cause)
		if cause != nil {
			panic(cause)
		}
	}()
	produced, err := handler(msg)
	returned = true
	msg.SetContext(before)
	process.end(err)
	process.adopt(produced)
	return produced, err
}

// process is one call of a handler.
type process struct {
	*processor

	msg  *message.Message
	of   attempt
	ctx  context.Context //nolint:containedctx // the handler's
	span trace.Span
}

// start starts the span.
func (p *process) start(before context.Context, entry redisstream.Entry) {
	ambient := trace.SpanContextFromContext(before)
	ctx := before
	if ambient.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	ctx = p.propagator().Extract(ctx, propagation.MapCarrier(p.msg.Metadata))
	creation := trace.SpanContextFromContext(ctx)
	links := make([]trace.Link, 0, 3) //nolint:mnd // as many as there can be
	links = appendLink(links, creation, LinkCreation)
	links = appendLink(links, p.failed.get(p.of), LinkPreviousAttempt)
	links = appendLink(links, ambient, LinkAmbient)
	options := []trace.SpanStartOption{
		p.operation("process", semconv.MessagingOperationTypeProcess, entry.Stream),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
	}
	if p.linked {
		options = append(options, trace.WithNewRoot())
	}
	ctx = context.WithValue(ctx, receivedKey{}, creation)
	p.ctx, p.span = p.tracer.Start(ctx, "process "+entry.Stream, options...)
	if !p.span.IsRecording() {
		return
	}
	describe(p.span, p.msg)
	p.span.SetAttributes(EntryIDKey.String(entry.ID), DeliveryAttemptKey.Int64(entry.Deliveries))
	if entry.Group != "" {
		p.span.SetAttributes(semconv.MessagingConsumerGroupName(entry.Group), semconv.MessagingClientID(entry.Consumer))
	}
}

// end ends the span when the handler has returned.
func (p *process) end(err error) {
	nacked := err != nil || isClosed(p.msg.Nacked())
	if nacked && err == nil { // the handler has nacked it
		err = redisstream.RecordedError(p.ctx)
	}
	if err != nil {
		fail(p.span, err)
	}
	if nacked && !isClosed(p.msg.Acked()) {
		p.notHandled()
	} else {
		p.failed.forget(p.of)
	}
	p.span.End()
}

var errGoexit = errors.New("the handler ended its goroutine")

// panicked ends the span of a handler that panicked. A nil cause: it ended its goroutine.
func (p *process) panicked(cause any) {
	err, ok := cause.(error)
	switch {
	case cause == nil:
		err = errGoexit
	case !ok:
		err = fmt.Errorf("%v", cause)
	}
	p.span.RecordError(err, trace.WithStackTrace(true))
	fail(p.span, fmt.Errorf("panic: %w", err))
	if cause != nil {
		p.span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
	}
	p.notHandled()
	p.span.End()
}

// notHandled records what comes next, as far as the handler has decided it.
func (p *process) notHandled() {
	outcome := OutcomeRedeliver
	if wait, ok := redisstream.RecordedRetry(p.ctx); ok {
		outcome = OutcomeRetry
		p.span.SetAttributes(RetryDelayKey.Float64(wait.Seconds()))
	}
	if redisstream.RecordedReject(p.ctx) {
		outcome = OutcomeDeadLetter
	}
	p.span.SetAttributes(OutcomeKey.String(outcome))
	if span := p.span.SpanContext(); span.IsValid() {
		p.failed.put(p.of, span)
	}
}

// adopt makes produced messages that have no span of their own children of the span. What else is in
// their contexts stays.
func (p *process) adopt(produced []*message.Message) {
	for _, msg := range produced {
		switch {
		case msg == nil:
		case msg == p.msg: // forwarded
			msg.SetContext(p.ctx)
		case !trace.SpanContextFromContext(msg.Context()).IsValid():
			ctx := trace.ContextWithSpan(msg.Context(), p.span)
			ctx = context.WithValue(ctx, receivedKey{}, p.ctx.Value(receivedKey{}))
			if inherited := baggage.FromContext(p.ctx); inherited.Len() > 0 && baggage.FromContext(ctx).Len() == 0 {
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

func appendLink(links []trace.Link, span trace.SpanContext, why string) []trace.Link {
	if span.IsValid() {
		links = append(links, linkTo(span, why))
	}
	return links
}
