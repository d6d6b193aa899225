package redisstream

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// NackWithReason nacks a message that a Subscriber delivered and keeps why. The reason of the last delivery is in the log when
// the message fails again and again, and in its dead letter (DeadLetterErrorKey). It returns what Nack returns. With another
// Pub/Sub's message it only nacks.
func NackWithReason(msg *message.Message, reason error) bool {
	recordFailure(msg.Context(), reason)
	return msg.Nack()
}

// RecordError is a middleware for Watermill's Router that keeps the error of a handler, as NackWithReason does, and returns it
// unchanged. Add it before Recoverer, Retry and the like, so that it sees their errors:
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

type failureKey struct{}

// failure is where the handler of one delivery leaves its error.
type failure struct{ err atomic.Pointer[error] }

func recordFailure(ctx context.Context, err error) {
	if f, ok := ctx.Value(failureKey{}).(*failure); ok && err != nil {
		f.err.Store(&err)
	}
}

// failureOf returns what the handler left; nil: nothing.
func failureOf(ctx context.Context) error {
	f, ok := ctx.Value(failureKey{}).(*failure)
	if !ok {
		return nil
	}
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}
