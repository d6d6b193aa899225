package redisstream

import (
	"math/rand/v2"
	"time"
)

const (
	firstNackPause   = 5 * time.Millisecond
	longestNackPause = 100 * time.Millisecond
)

// DefaultNackBackoff doubles from 5 ms with each attempt to at most 100 ms, less up to half of it at
// random, so that messages that failed together don't come again together. It is short because the successors of
// a nacked message wait with it.
func DefaultNackBackoff(attempt int) time.Duration {
	pause := firstNackPause << min(max(attempt-1, 0), 10)
	pause = min(pause, longestNackPause)
	return pause - rand.N(pause/2+1)
}
