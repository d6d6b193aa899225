package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	errLost      = errors.New("the lease ended: the entry was claimed or acknowledged by another consumer")
	errTrimmed   = errors.New("the entry is no longer in the stream")
	errLateAck   = errors.New("the lease ended before the ack")
	errNotJoined = errors.New("a command was still under way CloseTimeout + 900 ms after the end")
)

const (
	// longHold is how long a handler has a message before that is logged, then after twice the time, and so on.
	longHold = 5 * time.Minute
	// holdLooks is how often to look for such.
	holdLooks = 30 * time.Second
)

// keepLeases renews what is held longer than a third of ClaimMinIdle, until ctx ends. Fast flows
// never come so far. It also reports handlers that have a message for long.
func (s *Subscription) keepLeases(ctx context.Context) {
	trouble := outage{what: "renewing leases", logger: s.Logger}
	pause := holdLooks
	if s.Group != nil {
		pause = min(pause, s.ClaimMinIdle/6)
	}
	for looked := time.Now(); sleep(ctx, pause); {
		if s.Group != nil {
			s.renewDue(ctx, &trouble)
		}
		if time.Since(looked) >= holdLooks {
			looked = time.Now()
			s.reportLongHeld()
		}
	}
}

// renewDue renews the leases that need it.
func (s *Subscription) renewDue(ctx context.Context, trouble *outage) {
	leases := s.inbox.due(time.Now().Add(-s.ClaimMinIdle / 3))
	for len(leases) > 0 {
		n := min(len(leases), maxAhead)
		if err := s.renew(ctx, leases[:n]); err != nil {
			if ctx.Err() == nil {
				trouble.failed(err)
			}
			return // the next round is soon enough: half of ClaimMinIdle is left
		}
		trouble.over()
		leases = leases[n:]
	}
}

func (s *Subscription) reportLongHeld() {
	for id, held := range s.inbox.longHeld(longHold) {
		s.Logger.Info("a handler has had a message for long; it is neither acked nor nacked",
			watermill.LogFields{"entry": id, "held_for": held.Round(time.Second).String()})
	}
}

// renew renews leases; handlers of what is lost learn it from their context.
func (s *Subscription) renew(ctx context.Context, leases []stream.Lease) error {
	began := time.Now()
	lost, trimmed, err := s.Group.RenewLeases(ctx, leases)
	if err != nil {
		return err
	}
	if taken := s.inbox.renewed(leases, began, lost, trimmed); len(taken) > 0 {
		s.Logger.Error("entries lost while they were held", errLost, watermill.LogFields{countField: len(taken), "entries": taken})
	}
	if len(trimmed) > 0 {
		s.Logger.Error("entries were trimmed from the stream while they were held", errTrimmed, someOf(trimmed))
	}
	return nil
}

// maxLoggedIDs bounds a line in the log.
const maxLoggedIDs = 10

// someOf returns how many entries there are, and some of them.
func someOf(ids []string) watermill.LogFields {
	return watermill.LogFields{countField: len(ids), "entries": ids[:min(len(ids), maxLoggedIDs)]}
}
