package subscription

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	firstAside   = time.Second
	longestAside = 5 * time.Minute
)

// exhausted returns why an entry is not to be delivered again, or nil.
func (s *Subscription) exhausted(e *entry) error {
	if n := e.delivered(); s.DeadLetter != nil && s.MaxDeliveries > 0 && n >= int64(s.MaxDeliveries) {
		return fmt.Errorf("delivered %d times without an ack", n)
	}
	return nil
}

// bury takes an entry that no handler is to get out of the stream's way. The lane owns it until the server
// has moved and acknowledged it; if that fails, it comes again later, and nobody waits for it.
func (s *Subscription) bury(e *entry, reason error) {
	log := watermill.LogFields{"entry": e.ID, "reason": reason.Error(), "deliveries": e.delivered()}
	if s.DeadLetter == nil {
		s.Logger.Error("entry skipped", reason, log)
		s.inbox.discard(e)
		return
	}
	fate, err := s.DeadLetter(context.WithoutCancel(s.messages), e.ID, e.delivered(), reason)
	if err != nil {
		pause := min(firstAside<<min(e.aside, 16), longestAside)
		s.Logger.Error("entry could not be dead-lettered; it stays pending", err, log.Add(watermill.LogFields{"retry_in": pause.String()}))
		s.inbox.setAside(e, reason, pause)
		return
	}
	switch fate {
	case stream.FateMoved:
		s.Logger.Error("entry dead-lettered", reason, log)
	case stream.FateTrimmed:
		s.Logger.Error("entry was trimmed from the stream before it could be dead-lettered", errTrimmed, log)
	case stream.FateLost: // its new owner decides
	}
	s.inbox.discard(e)
}
