package redisstreamotel

import (
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/trace"
)

// CreateSpans returns a middleware for handlers whose messages redisstream.CommitHandler publishes,
// because these do not go through NewPublisher. It makes a span "create TOPIC" of each message that
// the handler returns, and writes the trace context to the metadata of a copy. The span ends at
// once; the process span has the error of the commit. Add it after CommitHandler:
//
//	router.AddMiddleware(redisstreamotel.Middleware(), redisstream.CommitHandler(publisher), redisstreamotel.CreateSpans())
//
// A message that a handler publishes through a TxPublisher itself, as a CQRS EventBus does, needs
// NewPublisher and not this.
func CreateSpans(options ...Option) message.HandlerMiddleware {
	t := newTracing(options)
	return func(handler message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			produced, err := handler(msg)
			if err != nil || len(produced) == 0 {
				return produced, err
			}
			copies := make([]*message.Message, len(produced))
			for i, created := range produced {
				copies[i] = t.create(msg, created)
			}
			return copies, nil
		}
	}
}

// create returns a copy of a message that the handler of msg returned, or the message itself if it
// needs no trace context.
func (t *tracing) create(msg, created *message.Message) *message.Message {
	if created == nil {
		return nil
	}
	parent := created.Context()
	if !trace.SpanContextFromContext(parent).IsValid() {
		parent = msg.Context()
	}
	probe := copyWith(parent, created, created.Metadata)
	creation, custom := t.customIn(probe)
	if custom {
		return created
	}
	topic := message.PublishTopicFromCtx(msg.Context())
	ctx, span := t.start(parent, operation{create, topic, trace.SpanKindProducer})
	describe(span, created)
	span.End()
	if !carries(ctx) {
		return created
	}
	return copyWith(created.Context(), created, t.inject(ctx, created.Metadata, creation.IsValid()))
}
