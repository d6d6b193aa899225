// Package backoff computes pauses between attempts. The caller waits.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Exponential returns the pause before the given attempt to try again: first before attempt 1,
// twice as long before each following one, and at most longest. An attempt below 1 counts as 1.
func Exponential(first, longest time.Duration, attempt int) time.Duration {
	pause := first
	for ; attempt > 1 && 0 < pause && pause < longest; attempt-- {
		if pause > longest/2 { // doubling it may overflow
			return longest
		}
		pause *= 2
	}
	return min(pause, longest)
}

// Jitter returns pause, shortened at random by up to the given part of it (0.5: by up to a half).
// Processes that begin to wait together then do not try again together. It returns a pause of 0 or
// less unchanged.
func Jitter(pause time.Duration, part float64) time.Duration {
	if pause <= 0 {
		return pause
	}
	return pause - rand.N(time.Duration(part*float64(pause))+1)
}
