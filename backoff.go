package redisstream

import (
	"math/rand/v2"
	"time"
)

const (
	firstNackPause   = 20 * time.Millisecond
	longestNackPause = 10 * time.Second
)

// DefaultNackBackoff doubles from 20 ms with each attempt to at most 10 s, less up to half of it at random,
// so that messages that failed together don't come again together.
func DefaultNackBackoff(attempt int) time.Duration {
	pause := longestNackPause
	if attempt < 10 {
		pause = min(firstNackPause<<max(attempt-1, 0), longestNackPause)
	}
	return pause - rand.N(pause/2+1)
}
