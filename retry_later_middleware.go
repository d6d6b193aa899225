package redisstream

import (
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// RetryLater is a middleware for Watermill's Router. It retries a message whose handler returns an
// error after waits that grow, without holding up others, and then makes it a dead letter:
//
//	retry := redisstream.RetryLater{Delays: []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute}}
//	router.AddMiddleware(retry.Middleware)
//
// It calls RetryOutOfOrder and Reject, and returns the error, so that the Router nacks the message.
// Only the group of the handler gets it again. The number of a failure is that of the delivery
// (Entry.Deliveries): it counts on over restarts, and a delivery that ended with its process counts,
// too.
//
// Add it before Recoverer and others whose errors it is to see. A message of another Pub/Sub passes.
type RetryLater struct {
	// Delays are the waits after the first failure, the second and so on. After one failure more
	// the message becomes a dead letter. Defaults to none: a dead letter after the first failure.
	Delays []time.Duration

	// DelaysFor returns the waits for an error, instead of Delays: none where no retry can help.
	// Set it where errors differ. Defaults to nil: Delays for every error.
	DelaysFor func(err error) []time.Duration

	// KeepOrder makes messages that must keep their order wait for the one that is retried, while
	// that waits in the process: see RetryAfter. Set it where a wait is short and order matters more
	// than throughput. Defaults to false: no message waits.
	KeepOrder bool
}

// Middleware is the function for the Router.
func (r RetryLater) Middleware(handler message.HandlerFunc) message.HandlerFunc {
	retry := RetryOutOfOrder
	if r.KeepOrder {
		retry = RetryAfter
	}
	delays := r.DelaysFor
	if delays == nil {
		same := slices.Clone(r.Delays)
		delays = func(error) []time.Duration { return same }
	}
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := handler(msg)
		entry, ok := EntryFromContext(msg.Context())
		if err == nil || !ok {
			return produced, err
		}
		recordFailure(msg.Context(), err)
		if waits := delays(err); entry.Deliveries <= int64(len(waits)) {
			retry(msg, waits[max(entry.Deliveries, 1)-1])
		} else {
			Reject(msg, err)
		}
		return produced, err
	}
}
