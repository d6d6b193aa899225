package redisstream

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/subscription"
)

// NackWithReason nacks a message that a Subscriber delivered and records the reason. The reason of
// the last delivery is in the log when the message fails repeatedly, and in its dead letter
// (DeadLetterErrorKey). It returns what Nack returns. A message of another Pub/Sub is only nacked.
func NackWithReason(msg *message.Message, reason error) bool {
	recordFailure(msg.Context(), reason)
	return msg.Nack()
}

// RecordError is a middleware for Watermill's Router. It records the error of a handler, as
// NackWithReason does, and returns it unchanged. Add it before Recoverer, Retry and others, so that
// it sees their errors:
//
//	router.AddMiddleware(redisstream.RecordError, middleware.Recoverer)
func RecordError(handler message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := handler(msg)
		if err != nil {
			recordFailure(msg.Context(), err)
		}
		return produced, err
	}
}

// RecordedError returns the error that NackWithReason or RecordError recorded last for the delivery
// that ctx belongs to, or nil. It is for unit tests of handlers; see ContextWithEntry.
func RecordedError(ctx context.Context) error {
	return decisionOf(ctx).Failure
}

func recordFailure(ctx context.Context, err error) {
	if err != nil {
		decide(ctx, func(d *subscription.Decision) { d.Failure = err })
	}
}

type decisionKey struct{}

// decision holds what the handler of one delivery recorded.
type decision struct {
	recorded atomic.Pointer[subscription.Decision]
}

// decide records something in the context of a message, if that is one of a Subscriber.
func decide(ctx context.Context, change func(*subscription.Decision)) {
	d, ok := ctx.Value(decisionKey{}).(*decision)
	if !ok {
		return
	}
	for {
		before, after := d.recorded.Load(), subscription.Decision{}
		if before != nil {
			after = *before
		}
		change(&after)
		if d.recorded.CompareAndSwap(before, &after) {
			return
		}
	}
}

// decisionOf returns what was recorded in the context of a message.
func decisionOf(ctx context.Context) subscription.Decision {
	if d, ok := ctx.Value(decisionKey{}).(*decision); ok {
		if recorded := d.recorded.Load(); recorded != nil {
			return *recorded
		}
	}
	return subscription.Decision{}
}
