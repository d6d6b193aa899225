package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// worker delivers one entry at a time until the inbox closes.
type worker struct {
	*Subscription

	recheck *time.Timer // while an offer stands: when to check the lease again
}

func newWorker(s *Subscription) *worker {
	w := &worker{Subscription: s, recheck: time.NewTimer(time.Hour)}
	w.recheck.Stop()
	return w
}

func (w *worker) run() {
	for e := w.inbox.take(); e != nil; e = w.inbox.take() {
		w.deliver(e)
	}
}

// deliver offers an entry to a handler and settles it. The worker owns the entry from take until it
// hands it over; see inbox.take.
func (w *worker) deliver(e *entry) {
	w.backend.awaitAcks(e)
	began := time.Now()
	reason := w.backend.overDeliveryLimit(e)
	var msg *message.Message
	if reason == nil {
		msg, reason = w.message(e)
	}
	if reason != nil {
		w.backend.deadLetter(e, msg, reason)
		return
	}
	w.reportRedeliveries(e, msg)
	ctx := &deliveryContext{subscription: w.Subscription, entry: e}
	delivery := w.inbox.delivering(e, ctx)
	messageContext := w.Context(ctx, e.ID, delivery)
	msg.SetContext(messageContext)
	if !w.offer(ctx, e, msg, delivery) {
		w.undelivered(ctx, e)
		ctx.over()
		return
	}
	if w.Observer != nil {
		w.Observer.Delivered(e.ID, delivery, e.heldSince)
	}
	if w.awaitHandler(msg) {
		settled := time.Now()
		if w.Observer != nil {
			w.Observer.Handled(settled.Sub(e.heldSince), !isClosed(msg.Acked()))
		}
		w.settle(messageContext, e, msg, settled.Sub(began))
		ctx.over()
		return
	}
	w.late.add(messageContext, e, msg, ctx)
}

// undelivered ends a delivery that reached no handler: the entry is lost, Close is under way and
// releases it, or a pause began.
func (w *worker) undelivered(ctx context.Context, e *entry) {
	w.inbox.undelivered(e)
	switch {
	case isClosed(w.closing):
	case ctx.Err() != nil:
		w.inbox.discard(e)
	default:
		w.inbox.giveBack(e)
	}
}

// awaitHandler waits for the handler. It reports whether the handler settled the message; otherwise
// Close stopped waiting.
func (w *worker) awaitHandler(msg *message.Message) bool {
	select {
	case <-msg.Acked():
		return true
	case <-msg.Nacked():
		return true
	case <-w.abandon:
	}
	return isClosed(msg.Acked()) || isClosed(msg.Nacked())
}

// settle does what the handler decided. The context is the one of the message.
func (w *worker) settle(ctx context.Context, e *entry, msg *message.Message, d time.Duration) {
	if w.settledByCommit(e, msg, d) {
		return
	}
	if isClosed(msg.Acked()) {
		w.backend.acked(e, d)
		return
	}
	decision := w.Decision(ctx)
	e.nacked(decision.Failure)
	reason := w.backend.overDeliveryLimit(e)
	if reason == nil && decision.Reject {
		reason = errRejected
	}
	switch {
	case reason != nil:
		w.backend.deadLetter(e, msg, reason)
	case decision.Retry.Asked:
		w.backend.retryLater(e, d, decision.Retry)
	default:
		w.inbox.retry(e, d, w.callbacks.backoff(w.Backoff, int(e.handed)))
	}
}

// reportRedeliveries logs a message that fails or crashes its consumers again and again: after 10,
// 100,
// 1,000 and so on deliveries.
func (w *worker) reportRedeliveries(e *entry, msg *message.Message) {
	n := e.delivered()
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	if n != 1 || e.delivered() < 10 {
		return
	}
	fields := watermill.LogFields{"entry": e.ID, "message_uuid": msg.UUID, "deliveries": e.delivered()}
	if failure := e.known().failure; failure != nil {
		fields["last_error"] = failure.Error()
	}
	w.Logger.Info("message was delivered many times without an ack; it is redelivered", fields)
}

// message returns what the handler gets. It is decoded for each delivery: a handler may have
// changed the message of an earlier one.
func (w *worker) message(e *entry) (*message.Message, error) {
	if reason := e.known().undeliverable; reason != nil {
		return nil, reason
	}
	if msg := e.msg; msg != nil {
		e.msg = nil
		return msg, nil
	}
	return w.callbacks.decode(w.Decode, e.Entry)
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}
