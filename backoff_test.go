package redisstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// With MaxDeliveries and the default pauses, a message is retried for at least a minute, and not
// much longer.
func TestBackoff_budget(t *testing.T) {
	t.Parallel()
	for maxDeliveries := 2; maxDeliveries <= 100; maxDeliveries++ {
		backoff := SubscriberConfig{ConsumerGroup: "g", MaxDeliveries: maxDeliveries}.backoff("orders")
		var sum, last time.Duration
		for attempt := 1; attempt < maxDeliveries; attempt++ {
			pause := backoff(attempt)
			assert.GreaterOrEqual(t, 2*pause, last, "pauses grow, except for the random part")
			sum, last = sum+pause, pause
		}
		assert.GreaterOrEqual(t, sum, deliveryBudget*999/1000, maxDeliveries)
		assert.LessOrEqual(t, sum, deliveryBudget*12/10, maxDeliveries)
	}
}

func TestBackoff_budgetOfManyDeliveries(t *testing.T) {
	t.Parallel()
	for _, maxDeliveries := range []int{1000, 100_000} {
		backoff := SubscriberConfig{ConsumerGroup: "g", MaxDeliveries: maxDeliveries}.backoff("orders")
		for _, attempt := range []int{-1, 0, 1, 10, maxDeliveries, 1 << 40} {
			pause := backoff(attempt)
			assert.Positive(t, pause)
			assert.LessOrEqual(t, pause, deliveryBudget)
		}
	}
}

// The budget applies only to groups with a delivery limit, and not to the user's own pauses.
func TestBackoff_withoutBudget(t *testing.T) {
	t.Parallel()
	own := func(int) time.Duration { return 42 }
	for i, config := range []SubscriberConfig{
		{ConsumerGroup: "g"},
		{ConsumerGroup: "g", MaxDeliveries: 1},
		{ConsumerGroup: "g", MaxDeliveries: 5, AutoAck: true},
		{MaxDeliveries: 5},
		{ConsumerGroup: "g", MaxDeliveries: 5, NackBackoff: own},
	} {
		assert.LessOrEqual(t, config.backoff("orders")(1000), longestNackPause, fmt.Sprint(i))
	}
	assert.LessOrEqual(t, SubscriberConfig{ConsumerGroup: "g", MaxDeliveries: 5}.backoff(DeadLetterTopic("orders"))(1000), longestNackPause)
}
