package redisstream

import (
	"math"
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
	pause := defaultPause(attempt)
	return pause - rand.N(pause/2+1)
}

func defaultPause(attempt int) time.Duration {
	return min(firstNackPause<<min(max(attempt-1, 0), 10), longestNackPause)
}

// backoff returns the pauses of a subscription to topic.
func (c SubscriberConfig) backoff(topic string) func(attempt int) time.Duration {
	limited := c.MaxDeliveries > 1 && c.ConsumerGroup != "" && !c.AutoAck && !isDeadLetterTopic(topic)
	switch {
	case c.NackBackoff != nil:
		return c.NackBackoff
	case limited:
		return budgetBackoff(c.MaxDeliveries)
	default:
		return DefaultNackBackoff
	}
}

// deliveryBudget is how long a message is tried at least before MaxDeliveries gives it up: an outage behind the handlers that
// is shorter costs no message.
const deliveryBudget = time.Minute

// budgetBackoff is the default with MaxDeliveries: pauses that begin with 5 ms and grow by the factor with which all of them
// take deliveryBudget together. Up to a tenth more is added at random. None is shorter than DefaultNackBackoff's.
func budgetBackoff(maxDeliveries int) func(attempt int) time.Duration {
	pauses := maxDeliveries - 1
	factor := growth(pauses, float64(deliveryBudget)/float64(firstNackPause))
	return func(attempt int) time.Duration {
		attempt = min(max(attempt, 1), max(pauses, 1))
		pause := time.Duration(float64(firstNackPause) * math.Pow(factor, float64(attempt-1)))
		if pauses == 1 {
			pause = deliveryBudget
		}
		pause = max(pause, defaultPause(attempt))
		return pause + rand.N(pause/10+1)
	}
}

// growth returns the factor, at least 1, with which n terms of a geometric series from 1 on have the given sum.
func growth(n int, sum float64) float64 {
	low, high := 1.0, sum
	for range 100 {
		middle := (low + high) / 2
		if series(n, middle) < sum {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// series is the sum of n terms of a geometric series from 1 on.
func series(n int, factor float64) float64 {
	if factor == 1 {
		return float64(n)
	}
	return (math.Pow(factor, float64(n)) - 1) / (factor - 1)
}
