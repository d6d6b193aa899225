package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
	"github.com/stretchr/testify/assert"
)

func TestExponential(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{
		math.MinInt: 20, -1: 20, 0: 20, 1: 20, 2: 40, 3: 80, 4: 100, 5: 100, 1000: 100, math.MaxInt: 100,
	} {
		assert.Equal(t, want, backoff.Exponential(20, 100, attempt), attempt)
	}
	assert.Equal(t, time.Duration(100), backoff.Exponential(200, 100, 1), "longest bounds the first, too")
	assert.Equal(t, time.Duration(math.MaxInt64), backoff.Exponential(time.Second, math.MaxInt64, 1000))
	assert.Zero(t, backoff.Exponential(0, 100, math.MaxInt))
}

func TestJitter(t *testing.T) {
	t.Parallel()
	for part, shortest := range map[float64]time.Duration{0: 1000, 0.25: 750, 0.5: 500, 1: 0} {
		seen := make(map[time.Duration]bool)
		for range 10_000 {
			pause := backoff.Jitter(1000, part)
			assert.LessOrEqual(t, pause, time.Duration(1000))
			assert.GreaterOrEqual(t, pause, shortest)
			seen[pause] = true
		}
		assert.Equal(t, part > 0, len(seen) > 1, "pauses differ")
	}
	assert.Zero(t, backoff.Jitter(0, 0.5))
	assert.Equal(t, time.Duration(-1), backoff.Jitter(-1, 0.5))
	assert.Positive(t, backoff.Jitter(1, 0.5))
}
