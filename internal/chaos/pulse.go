package main

import (
	"context"
	"time"
)

const pulse = 20 * time.Millisecond

// longPause returns the shortest pause of a process or server that excuses an expired lease. Leases
// are renewed when they are between a third and half of ClaimMinIdle old.
func longPause(claimMinIdle time.Duration) time.Duration { return claimMinIdle * 3 / 10 }

// watchPulse calls stood when this process did not run: it was stopped, or the machine was too
// busy.
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
