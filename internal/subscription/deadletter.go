package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	firstAside   = time.Second
	longestAside = 5 * time.Minute
)

var errGivenUp = errors.New("given up by another client (XNACK FATAL)")

// overLimit returns why an entry is not to be delivered again, or nil.
func (s *Subscription) overLimit(e *entry) error {
	switch n := e.delivered(); {
	case s.DeadLetter == nil:
		return nil
	case e.Counted >= stream.FatalDeliveries:
		return errGivenUp
	case s.MaxDeliveries > 0 && n >= int64(s.MaxDeliveries):
		return fmt.Errorf("delivered %d times without an ack", n)
	default:
		return nil
	}
}

// bury takes an entry that no handler is to get out of the stream's way. The lane owns it until the server
// has moved and acknowledged it; if that fails, it comes again later, and nobody waits for it. msg is nil if it is not decoded.
func (s *Subscription) bury(e *entry, msg *message.Message, reason error) {
	log := watermill.LogFields{"entry": e.ID, "deliveries": e.delivered()}
	if msg == nil && e.undeliverable == nil {
		msg, _ = s.decode(e.Entry) // for its UUID; that it can't be decoded may be the reason
	}
	if msg != nil {
		e.uuid = msg.UUID
	}
	if e.uuid != "" {
		log["message_uuid"] = e.uuid
	}
	if e.failure != nil {
		log["last_error"] = e.failure.Error()
	}
	if s.DeadLetter == nil {
		s.Logger.Error("entry skipped", reason, log)
		s.inbox.discard(e)
		return
	}
	s.inbox.settle(e)
	letter := DeadLetter{ID: e.ID, Deliveries: e.delivered(), Reason: reason, Failure: e.failure}
	fate, err := s.DeadLetter(context.WithoutCancel(s.messages), letter)
	if err != nil {
		pause := min(firstAside<<min(e.aside, 16), longestAside)
		s.letters.failed(err, log.Add(watermill.LogFields{"reason": reason.Error()}))
		s.inbox.setAside(e, reason, pause)
		return
	}
	s.letters.over()
	switch fate {
	case stream.DeadLetterMoved:
		s.Logger.Error("entry dead-lettered", reason, log)
	case stream.DeadLetterTrimmed:
		s.Logger.Error("entry was trimmed from the stream before it could be dead-lettered", errTrimmed, log)
	case stream.DeadLetterNotOwned: // its new owner decides
	}
	s.inbox.discard(e)
}
