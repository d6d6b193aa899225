package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	errLost    = errors.New("the lease ended: the entry was claimed or acknowledged by another consumer")
	errTrimmed = errors.New("the entry is no longer in the stream")
)

// keepLeases renews what is held longer than a third of ClaimMinIdle, until ctx ends. Fast flows
// never come so far.
func (s *Subscription) keepLeases(ctx context.Context) {
	trouble := outage{what: "renewing leases", logger: s.Logger}
	for sleep(ctx, s.ClaimMinIdle/6) {
		leases := s.inbox.due(time.Now().Add(-s.ClaimMinIdle / 3))
		for len(leases) > 0 {
			n := min(len(leases), maxAhead)
			if err := s.renew(ctx, leases[:n]); err != nil {
				if ctx.Err() == nil {
					trouble.failed(err)
				}
				break // the next round is soon enough: half of ClaimMinIdle is left
			}
			trouble.over()
			leases = leases[n:]
		}
	}
}

// renew renews leases; handlers of what is lost learn it from their context.
func (s *Subscription) renew(ctx context.Context, leases []stream.Lease) error {
	began := time.Now()
	lost, trimmed, err := s.Group.Hold(ctx, leases)
	if err != nil {
		return err
	}
	if taken := s.inbox.renewed(leases, began, lost, trimmed); len(taken) > 0 {
		s.Logger.Error("entries lost while they were held", errLost, watermill.LogFields{"entries": taken})
	}
	if len(trimmed) > 0 {
		s.Logger.Error("entries were trimmed from the stream while they were held", errTrimmed, trimmedFields(trimmed))
	}
	return nil
}

func trimmedFields(ids []string) watermill.LogFields {
	return watermill.LogFields{"count": len(ids), "entries": ids}
}
