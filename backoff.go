package redisstream

import (
	"math"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
)

const (
	firstNackPause   = 5 * time.Millisecond
	longestNackPause = 100 * time.Millisecond
)

// DefaultNackBackoff returns 5 ms for the first attempt, twice as much for each following one, and
// at most 100 ms. It shortens each pause at random by up to a half, so that messages that failed
// together are not redelivered together. The pauses are short because the successors of a nacked
// message wait, too.
func DefaultNackBackoff(attempt int) time.Duration {
	return backoff.Jitter(longestDefaultPause(attempt), 0.5)
}

// longestDefaultPause is what DefaultNackBackoff returns without jitter.
func longestDefaultPause(attempt int) time.Duration {
	return backoff.Exponential(firstNackPause, longestNackPause, attempt)
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

// deliveryBudget is how long a message is tried at least before it goes over the delivery limit. An
// outage behind the handlers that is shorter costs no message.
const deliveryBudget = time.Minute

// budgetBackoff is the default with MaxDeliveries. The pauses begin with 5 ms and grow by a
// constant factor, so that their sum is deliveryBudget. Jitter makes each up to a tenth longer.
// None is shorter than DefaultNackBackoff's.
func budgetBackoff(maxDeliveries int) func(attempt int) time.Duration {
	pauses := maxDeliveries - 1
	factor := growth(pauses, float64(deliveryBudget)/float64(firstNackPause))
	return func(attempt int) time.Duration {
		attempt = min(max(attempt, 1), max(pauses, 1))
		pause := time.Duration(float64(firstNackPause) * math.Pow(factor, float64(attempt-1)))
		if pauses == 1 {
			pause = deliveryBudget
		}
		pause = max(pause, longestDefaultPause(attempt))
		return backoff.Jitter(pause+pause/10, 1.0/11) // from pause to 1.1 pause
	}
}

// growth returns the factor, at least 1, of the geometric series whose first n terms, from 1 on,
// have the given sum. It finds the factor by bisection.
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

// series returns the sum of the first n terms of the geometric series that begins with 1.
func series(n int, factor float64) float64 {
	if factor == 1 {
		return float64(n)
	}
	return (math.Pow(factor, float64(n)) - 1) / (factor - 1)
}
