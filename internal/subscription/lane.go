package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// lane delivers one entry at a time until the inbox closes.
type lane struct {
	*Subscription

	recheck *time.Timer // while an offer stands: when to look at the lease again
}

func (s *Subscription) newLane() *lane {
	l := &lane{Subscription: s, recheck: time.NewTimer(time.Hour)}
	l.recheck.Stop()
	return l
}

func (l *lane) run() {
	for e := l.inbox.take(); e != nil; e = l.inbox.take() {
		l.deliver(e)
	}
}

// deliver sends an entry to the output and waits for its fate. The lane owns the entry from take until it
// calls finish, discard, retry or setAside; if it calls none of them, Close releases the entry.
func (l *lane) deliver(e *entry) {
	l.awaitAcks(e)
	began := time.Now()
	reason := l.overLimit(e)
	var msg *message.Message
	if reason == nil {
		msg, reason = l.message(e)
	}
	if reason != nil {
		l.bury(e, msg, reason)
		return
	}
	l.reportRedeliveries(e, msg)
	ctx, cancel := context.WithCancel(l.messages)
	delivery := l.inbox.handing(e, cancel)
	whole := l.Context(ctx, e.ID, delivery)
	msg.SetContext(whole)
	if !l.offer(ctx, e, msg, delivery) {
		cancel()
		l.unsent(e)
		return
	}
	if l.await(msg) {
		l.settle(whole, e, msg, time.Since(began))
		cancel()
		return
	}
	l.late.add(e, msg, cancel) // Close gave up waiting for the handler
}

// awaitAcks waits, before an entry is delivered again, until the server has the acks that were given, or the subscription ends. An
// entry that kills its process each time would otherwise take along the acks given just before, each time, and in the end
// their entries to the dead letters.
func (l *lane) awaitAcks(e *entry) {
	if e.delivered() == 0 || l.MaxDeliveries == 0 || l.acker == nil {
		return
	}
	select {
	case <-l.acker.through():
	case <-l.closing:
	case <-l.messages.Done():
	}
}

const (
	// longestOffer is how long an offer stands before the lease is looked at again.
	longestOffer = time.Second
	// leaseRetry is the pause after a renewal that failed.
	leaseRetry = 50 * time.Millisecond
)

// offer gives the message to whoever receives from the output, and reports whether somebody did. A process can stand still at
// any time, so an offer stands only shortly: then the lease is looked at again. The local clock tells whether it may be over;
// only then the server is asked.
func (l *lane) offer(ctx context.Context, e *entry, msg *message.Message, delivery int64) bool {
	if l.Group != nil && delivery > e.Counted {
		_ = l.renewOne(e.ID, delivery) // counts the delivery; cancels ctx if the entry is lost. If it fails, the lease tries again
	}
	for {
		if l.Group != nil && !l.ensureLease(ctx, e, delivery) {
			return false
		}
		if taken, again := l.offerOnce(ctx, e, msg); !again {
			if taken && l.Group != nil && l.isDoubtful(e) { // the process stood still, and the handler woke first
				_ = l.renewOne(e.ID, delivery) // cancels ctx if the entry is lost; if it fails, the lease tries again
			}
			return taken
		}
	}
}

// isDoubtful reports whether the lease of an entry may be over, by the local clock.
func (l *lane) isDoubtful(e *entry) bool { return time.Since(l.inbox.leasedSince(e)) > l.ClaimMinIdle }

// offerOnce lets an offer stand until it is taken, the subscription or the lease ends, or the lease is to be looked at again.
func (l *lane) offerOnce(ctx context.Context, e *entry, msg *message.Message) (taken, again bool) {
	if ctx.Err() != nil || !l.inbox.startSending() { // the select below would toss a coin
		return false, false
	}
	defer l.inbox.stopSending()
	select {
	case l.output <- msg:
		l.inbox.sent(e)
		return true, false
	default:
	}
	l.recheck.Reset(min(longestOffer, l.ClaimMinIdle/4))
	defer l.recheck.Stop()
	select {
	case l.output <- msg:
		l.inbox.sent(e)
		return true, false
	case <-l.recheck.C:
		return false, true
	case <-l.closing:
	case <-ctx.Done():
	}
	return false, false
}

// ensureLease reports whether the entry is still ours. If its lease may be over, it asks the server, until there is an answer.
func (l *lane) ensureLease(ctx context.Context, e *entry, delivery int64) bool {
	for l.isDoubtful(e) {
		if l.renewOne(e.ID, delivery) == nil {
			break
		}
		select {
		case <-time.After(leaseRetry):
		case <-l.closing:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// renewOne renews the lease of an entry and writes its count of deliveries, so that the count outlives us.
func (l *lane) renewOne(id string, delivery int64) error {
	return l.renew(context.WithoutCancel(l.messages), []stream.Lease{{ID: id, Deliveries: delivery}})
}

// unsent ends a delivery that did not reach a handler: the entry is lost, or Close is under way and releases it.
func (l *lane) unsent(e *entry) {
	l.inbox.unsent(e)
	select {
	case <-l.closing:
	default:
		l.inbox.discard(e)
	}
}

// await waits for the handler, and reports whether it settled the message: else Close gave up waiting.
func (l *lane) await(msg *message.Message) bool {
	select {
	case <-msg.Acked():
		return true
	case <-msg.Nacked():
		return true
	case <-l.abandon:
	}
	return isClosed(msg.Acked()) || isClosed(msg.Nacked())
}

// settle does what the handler decided. The context is the one that the message was delivered with.
func (l *lane) settle(ctx context.Context, e *entry, msg *message.Message, d time.Duration) {
	if isClosed(msg.Acked()) {
		l.inbox.finish(e, d, l.acker != nil)
		if l.acker != nil {
			l.acker.add(e)
		}
		return
	}
	if l.Failure != nil {
		e.failure = l.Failure(ctx)
	}
	if reason := l.overLimit(e); reason != nil {
		l.bury(e, msg, reason)
		return
	}
	l.inbox.retry(e, d, l.backoff(e.handed))
}

// reportRedeliveries logs a message that fails or crashes its consumers again and again, after 10, 100, 1,000 and so on
// deliveries.
func (l *lane) reportRedeliveries(e *entry, msg *message.Message) {
	n := e.delivered()
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	if n != 1 || e.delivered() < 10 {
		return
	}
	fields := watermill.LogFields{"entry": e.ID, "message_uuid": msg.UUID, "deliveries": e.delivered()}
	if e.failure != nil {
		fields["last_error"] = e.failure.Error()
	}
	l.Logger.Info("message was delivered many times without an ack; it is redelivered", fields)
}

// message returns what the handler gets: decoded for each delivery, whatever an earlier handler did to it.
func (l *lane) message(e *entry) (*message.Message, error) {
	if e.undeliverable != nil {
		return nil, e.undeliverable
	}
	if msg := e.msg; msg != nil {
		e.msg = nil
		return msg, nil
	}
	return l.decode(e.Entry)
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}
