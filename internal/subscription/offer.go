package subscription

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// offer offers the message on the output channel, and reports whether it was received. The process
// may be stopped at any time, so an offer stands only for a short time, and then the lease is
// checked again. The local clock tells whether the lease may have ended; only then the server is
// asked.
func (w *worker) offer(ctx context.Context, e *entry, msg *message.Message, delivery int64) bool {
	w.backend.countDelivery(e, delivery)
	for w.backend.ensureLease(ctx, e, delivery) {
		if received, again := w.offerOnce(ctx, e, msg); !again {
			if received {
				w.backend.confirmLease(e, delivery)
			}
			return received
		}
	}
	return false
}

// offerOnce lets an offer stand until the message is received, the subscription or the lease ends,
// a pause begins, or the lease is to be checked again.
func (w *worker) offerOnce(ctx context.Context, e *entry, msg *message.Message) (received, again bool) {
	// The select below would choose at random if several of its cases are ready.
	if ctx.Err() != nil {
		return false, false
	}
	pausing, admitted := w.barrier.enter()
	if !admitted {
		return false, false
	}
	defer w.barrier.leave()
	select {
	case w.output <- msg:
		w.inbox.received(e)
		return true, false
	default:
	}
	w.recheck.Reset(w.backend.offerTime())
	defer w.recheck.Stop()
	select {
	case w.output <- msg:
		w.inbox.received(e)
		return true, false
	case <-w.recheck.C:
		return false, true
	case <-pausing:
	case <-w.closing:
	case <-ctx.Done():
	}
	return false, false
}
