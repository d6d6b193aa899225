package redisstreamotel

import (
	"context"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// NewPublisher returns a Publisher that makes spans of what it publishes through next, and writes
// the trace context of each message to its metadata.
//
// A call with one message makes one span, "publish TOPIC", whose context goes with the message. A
// call with several makes a span "create TOPIC" for each message, and one "publish TOPIC" that is
// linked to them. The parent is the span in the context of the message. That of the publish span of
// several messages is the one that they all have in common; if they have none, it is a root.
//
// If Publish returns a *redisstream.PublishError, each span tells what became of its message:
// OutcomeKey. Its lists have the messages of the caller.
//
// Publish does not change the messages: copies go to next. So a message can be published again, to
// several topics, and by several goroutines at the same time, as long as none of them changes it. A
// trace context that the caller put into the metadata is kept, and linked to; that of a message
// which Middleware received is replaced.
//
// With a redisstream.TxPublisher as next, the span ends when the messages are queued: what becomes
// of the transaction is not in it. Close closes next. next may be any Publisher.
func NewPublisher(next message.Publisher, options ...Option) message.Publisher {
	return &publisher{Publisher: next, tracing: newTracing(options)}
}

// PublisherDecorator is NewPublisher for Router.AddPublisherDecorators. Use one of the two, as each
// makes its own spans.
func PublisherDecorator(options ...Option) message.PublisherDecorator {
	t := newTracing(options)
	return func(next message.Publisher) (message.Publisher, error) {
		return &publisher{Publisher: next, tracing: t}, nil
	}
}

type publisher struct {
	message.Publisher
	*tracing
}

// Publish is part of message.Publisher.
func (p *publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 || slices.Contains(messages, nil) { // next says what is wrong
		return p.Publisher.Publish(topic, messages...)
	}
	call := p.spansOf(topic, messages)
	err := p.Publisher.Publish(topic, call.sent...)
	call.end(err)
	return err
}

// spansOf starts the spans of a call.
func (t *tracing) spansOf(topic string, messages []*message.Message) *publication {
	call := &publication{messages: messages, sent: make([]*message.Message, len(messages))}
	if len(messages) == 1 {
		call.one(t, topic)
	} else {
		call.several(t, topic)
	}
	return call
}

// publication is one call of Publish.
type publication struct {
	messages []*message.Message // of the caller
	sent     []*message.Message // what the next Publisher gets in their place
	creates  []trace.Span       // one for each message, nil: it has none; or nil
	span     trace.Span         // of the call
}

// one starts the span of a call with one message.
func (c *publication) one(t *tracing, topic string) {
	msg := c.messages[0]
	creation, custom := t.customIn(msg)
	var ctx context.Context
	if custom {
		ctx, c.span = t.start(msg.Context(), operation{publish, topic, trace.SpanKindClient}, trace.WithLinks(linkTo(creation, LinkCreation)))
	} else {
		ctx, c.span = t.start(msg.Context(), operation{publish, topic, trace.SpanKindProducer})
	}
	describe(c.span, msg)
	switch {
	case custom:
		c.sent[0] = copyWith(ctx, msg, msg.Metadata)
	case carries(ctx):
		c.sent[0] = copyWith(ctx, msg, t.inject(ctx, msg.Metadata, creation.IsValid()))
	default:
		c.sent[0] = msg
	}
}

// several starts the spans of a call with several messages.
func (c *publication) several(t *tracing, topic string) {
	parent, common := commonSpan(c.messages)
	withCreate := !t.withoutCreate || !common
	contexts := make([]context.Context, len(c.messages)) // what goes with each message
	if withCreate {
		c.creates = make([]trace.Span, len(c.messages))
	}
	kind := trace.SpanKindClient // unless its own context goes with messages
	var links []trace.Link
	for i, msg := range c.messages {
		creation, custom := t.customIn(msg)
		switch {
		case custom:
			c.sent[i] = copyWith(msg.Context(), msg, msg.Metadata)
		case withCreate:
			ctx, span := t.start(msg.Context(), operation{create, topic, trace.SpanKindProducer})
			describe(span, msg)
			contexts[i], c.creates[i], creation = ctx, span, span.SpanContext() //nolint:fatcontext // one each
		default:
			kind, creation = trace.SpanKindProducer, trace.SpanContext{}
		}
		if creation.IsValid() {
			links = append(links, linkTo(creation, LinkCreation, semconv.MessagingMessageID(msg.UUID)))
		}
	}
	options := []trace.SpanStartOption{
		trace.WithLinks(links...), trace.WithAttributes(semconv.MessagingBatchMessageCount(len(c.messages))),
	}
	if !common {
		options = append(options, trace.WithNewRoot())
	}
	_, c.span = t.start(parent, operation{publish, topic, kind}, options...)
	c.replace(t, contexts)
}

// replace fills what is sent: copies that have the context which goes with them in their metadata,
// and the span of the call in their context, to which the spans of the next Publisher belong.
func (c *publication) replace(t *tracing, contexts []context.Context) {
	for i, msg := range c.messages {
		ctx := trace.ContextWithSpan(msg.Context(), c.span)
		propagated := contexts[i]
		if propagated == nil {
			propagated = ctx
		}
		switch {
		case c.sent[i] != nil: // with a context of the caller
			c.sent[i].SetContext(ctx)
		case carries(propagated):
			c.sent[i] = copyWith(ctx, msg, t.inject(propagated, msg.Metadata, t.creationIn(msg.Metadata).IsValid()))
		default:
			c.sent[i] = msg
		}
	}
}

// commonSpan returns a context with the span that is in the contexts of all messages, and whether
// there is one such, or none at all.
func commonSpan(messages []*message.Message) (ctx context.Context, common bool) {
	ctx = messages[0].Context()
	first := trace.SpanContextFromContext(ctx)
	for _, msg := range messages[1:] {
		if !trace.SpanContextFromContext(msg.Context()).Equal(first) {
			return ctx, false
		}
	}
	return ctx, true
}

// describe sets the attributes of one message.
func describe(span trace.Span, msg *message.Message) {
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingMessageID(msg.UUID), semconv.MessagingMessageBodySize(len(msg.Payload)))
	}
}

// fail makes the span that of an operation which failed.
func fail(span trace.Span, err error) {
	span.SetStatus(codes.Error, err.Error())
	span.SetAttributes(errorType(err))
}
