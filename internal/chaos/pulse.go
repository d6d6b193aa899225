package main

import (
	"context"
	"time"
)

const pulse = 20 * time.Millisecond

// longPause is how long a process or the server has to stand still to be an excuse for a lease that expired: leases are
// renewed when they are between a third and half of ClaimMinIdle old.
func longPause(claimMinIdle time.Duration) time.Duration { return claimMinIdle * 3 / 10 }

// watchPulse tells when this process stood still: because it was stopped, or the machine was too busy to run it.
func watchPulse(ctx context.Context, claimMinIdle time.Duration, stood func(from time.Time)) {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(last) > longPause(claimMinIdle) {
			stood(last)
		}
		last = now
	}
}
