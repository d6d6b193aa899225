package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// lane delivers one entry at a time until the inbox closes.
func (s *Subscription) lane() {
	for e := s.inbox.take(); e != nil; e = s.inbox.take() {
		s.deliver(e)
	}
}

// deliver sends an entry to the output and waits for its fate. The lane owns the entry from take until it
// calls finish, discard, retry or setAside; if it calls none of them, Close releases the entry.
func (s *Subscription) deliver(e *entry) {
	s.awaitAcks(e)
	began := time.Now()
	reason := s.exhausted(e)
	var msg *message.Message
	if reason == nil {
		msg, reason = s.message(e)
	}
	if reason != nil {
		s.inbox.sent()
		s.bury(e, reason)
		return
	}
	ctx, cancel := context.WithCancel(s.messages)
	defer cancel()
	delivery, touched, ours := s.inbox.handing(e, cancel)
	if over := began.Sub(touched) > s.ClaimMinIdle; ours && (over || delivery > e.Counted) {
		s.countRetry(e.ID, delivery) // cancels ctx if the entry is lost
	}
	msg.SetContext(s.Context(ctx, e.ID, delivery))
	if !ours || ctx.Err() != nil { // the select below would toss a coin
		s.unsent(e)
		return
	}
	select {
	case s.output <- msg:
		s.inbox.sent()
	case <-s.closing:
		s.inbox.unsent(e)
		return
	case <-ctx.Done():
		s.unsent(e)
		return
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	case <-s.abandon:
	}
	s.settle(e, msg, time.Since(began))
}

// awaitAcks waits, before an entry is delivered again, until the server has the acks that were given, or the subscription ends. An
// entry that kills its process each time would otherwise take along the acks given just before, each time, and in the end
// their entries to the dead letters.
func (s *Subscription) awaitAcks(e *entry) {
	if e.delivered() == 0 || s.MaxDeliveries == 0 || s.acker == nil {
		return
	}
	select {
	case <-s.acker.through():
	case <-s.closing:
	case <-s.messages.Done():
	}
}

// unsent ends a delivery that did not reach the handler: the entry is lost, or the subscription's
// context ended and Close is about to come.
func (s *Subscription) unsent(e *entry) {
	s.inbox.unsent(e)
	if s.messages.Err() == nil {
		s.inbox.discard(e)
	}
}

// settle does what the handler said.
func (s *Subscription) settle(e *entry, msg *message.Message, d time.Duration) {
	select {
	case <-msg.Acked():
		s.inbox.finish(e, d, s.acker != nil)
		if s.acker != nil {
			s.acker.add(e)
		}
		return
	default:
	}
	select {
	case <-msg.Nacked():
		if reason := s.exhausted(e); reason != nil {
			s.bury(e, reason)
			return
		}
		s.inbox.retry(e, d, s.Backoff(e.handed))
	default: // abandoned: Close releases it
	}
}

// message returns what the handler gets: decoded anew for each delivery, whatever an earlier
// handler did to it.
func (s *Subscription) message(e *entry) (*message.Message, error) {
	if e.undeliverable != nil {
		return nil, e.undeliverable
	}
	if msg := e.msg; msg != nil {
		e.msg = nil
		return msg, nil
	}
	return s.Decode(e.Entry)
}

// countRetry tells the server of a delivery, one that it did not make itself, so that the count
// outlives us, or one after the lease was over, and learns whether the entry is still ours. Failing that, the lease tries again.
func (s *Subscription) countRetry(id string, delivery int64) {
	if s.Group != nil {
		_ = s.renew(context.WithoutCancel(s.messages), []stream.Lease{{ID: id, Deliveries: delivery}})
	}
}
