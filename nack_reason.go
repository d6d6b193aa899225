package redisstream

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
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
	f, ok := ctx.Value(failureKey{}).(*failure)
	if !ok {
		return nil
	}
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

type failureKey struct{}

// failure holds the error of the handler of one delivery.
type failure struct{ err atomic.Pointer[error] }

func recordFailure(ctx context.Context, err error) {
	if f, ok := ctx.Value(failureKey{}).(*failure); ok && err != nil {
		f.err.Store(&err)
	}
}
