package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	firstDeferral   = time.Second
	longestDeferral = 5 * time.Minute
)

var errGivenUp = errors.New("given up by another client (XNACK FATAL)")

// overLimitError is the reason for which an entry is not delivered again after that many deliveries.
type overLimitError int64

func (n overLimitError) Error() string {
	return fmt.Sprintf("delivered %d times without an ack", int64(n))
}

// DeadLetters takes the entries that are not delivered again: a DeadLetterStream or Skip.
type DeadLetters interface {
	attach(s *Subscription, g Group) deadLetters
}

// deadLetters is the DeadLetters of a running subscription.
type deadLetters interface {
	// overDeliveryLimit returns why an entry is not to be delivered again, or nil.
	overDeliveryLimit(e *entry) error
	// deadLetter takes an entry from its worker. msg is nil if the entry was not decoded.
	deadLetter(e *entry, msg *message.Message, reason error)
}

// Skip skips entries that can't be decoded. In a group with acks they stay pending, otherwise they
// are lost. There is no delivery limit.
type Skip struct{}

func (Skip) attach(s *Subscription, _ Group) deadLetters { return skipping{s} }

type skipping struct{ *Subscription }

func (skipping) overDeliveryLimit(*entry) error { return nil }

func (s skipping) deadLetter(e *entry, msg *message.Message, reason error) {
	s.Logger.Error("entry skipped", reason, s.describe(e, msg))
	s.inbox.discard(e)
}

// DeadLetterStream moves entries to a stream for dead letters.
type DeadLetterStream struct {
	Target stream.DeadLetterTarget
	// Fields returns the fields that are added to those of the entry.
	Fields func(DeadLetter) []any
}

// DeadLetter is an entry that is not delivered again, and why.
type DeadLetter struct {
	ID         string
	Deliveries int64
	Reason     error
	Failure    error // the last error of its handler; nil: unknown
}

func (d DeadLetterStream) attach(s *Subscription, g Group) deadLetters {
	return &deadLettering{
		DeadLetterStream: d, Subscription: s, move: g.Stream.DeadLetter, maxDeliveries: int64(g.MaxDeliveries),
		trouble: &outage.Shared{Outage: outage.Outage{What: "dead-lettering", Logger: s.Logger}},
	}
}

type deadLettering struct {
	DeadLetterStream
	*Subscription

	move          func(context.Context, string, stream.DeadLetterTarget, []any) (stream.DeadLetterResult, error)
	maxDeliveries int64 // 0: no limit
	trouble       *outage.Shared
}

func (d *deadLettering) overDeliveryLimit(e *entry) error {
	switch n := e.delivered(); {
	case e.Counted >= stream.FatalDeliveries:
		return errGivenUp
	case d.maxDeliveries > 0 && n >= d.maxDeliveries:
		return overLimitError(n)
	default:
		return nil
	}
}

// deadLetter moves the entry. The worker owns it until the server has moved and acknowledged it. If
// that fails, it is tried again later, and no other entry waits for it.
func (d *deadLettering) deadLetter(e *entry, msg *message.Message, reason error) {
	fields := d.describe(e, msg)
	d.inbox.deadLettering(e)
	letter := DeadLetter{ID: e.ID, Deliveries: e.delivered(), Reason: reason, Failure: e.known().failure}
	result, err := d.move(context.WithoutCancel(d.messages), e.ID, d.Target, d.Fields(letter))
	if err != nil {
		pause := backoff.Exponential(firstDeferral, longestDeferral, int(e.deferrals)+1)
		d.trouble.FailedWith(err, fields.Add(watermill.LogFields{"reason": reason.Error()}))
		d.inbox.deferDeadLetter(e, reason, pause)
		return
	}
	d.trouble.Over()
	switch result {
	case stream.DeadLetterMoved:
		d.Logger.Error("entry dead-lettered", reason, fields)
		if d.Observer != nil {
			d.Observer.DeadLettered(kindOf(reason))
		}
	case stream.DeadLetterTrimmed:
		d.Logger.Error("entry was trimmed from the stream before it could be dead-lettered", errTrimmed, fields)
	case stream.DeadLetterNotOwned: // its new owner decides
	}
	d.inbox.discard(e)
}

// describe returns the log fields of an entry.
func (s *Subscription) describe(e *entry, msg *message.Message) watermill.LogFields {
	fields := watermill.LogFields{"entry": e.ID, "deliveries": e.delivered()}
	if msg == nil && e.known().undeliverable == nil {
		msg, _ = s.callbacks.decode(s.Decode, e.Entry) // for its UUID, if possible
	}
	if msg != nil {
		e.inTrouble().uuid = msg.UUID
	}
	trouble := e.known()
	if trouble.uuid != "" {
		fields["message_uuid"] = trouble.uuid
	}
	if trouble.failure != nil {
		fields["last_error"] = trouble.failure.Error()
	}
	return fields
}
