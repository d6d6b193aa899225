package delivery

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// firstDeliveries records the payloads of messages in the order of their first deliveries.
type firstDeliveries struct {
	mu      sync.Mutex
	numbers []int
	seen    map[int]bool
}

// record records a delivery, and reports whether it is the first one of its message.
func (o *firstDeliveries) record(msg *message.Message) (number int, first bool) {
	number, err := strconv.Atoi(string(msg.Payload))
	if err != nil {
		panic(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[int]bool{}
	}
	first = !o.seen[number]
	o.seen[number] = true
	if first {
		o.numbers = append(o.numbers, number)
	}
	return number, first
}

// claimedInOrder checks the order from the first claimed message on, that is, one with a number
// below old. No claimed message may come after a larger number.
func claimedInOrder(t *testing.T, numbers []int, old int) {
	t.Helper()
	newest, begun := -1, false
	for i, n := range numbers {
		begun = begun || n < old
		if !begun {
			continue
		}
		require.Truef(t, n >= old || n > newest, "%d comes at %d, behind %d", n, i, newest)
		newest = max(newest, n)
	}
}

func pendingOf(b *fixture.Bench, consumer string) int {
	b.Helper()
	rows, err := b.Client.XPendingExt(b.Context(), &redis.XPendingExtArgs{
		Stream: b.Topic, Group: "g", Consumer: consumer, Start: "-", End: "+", Count: 1000,
	}).Result()
	require.NoError(b, err)
	return len(rows)
}

// Entries of a dead consumer come before all newer messages that no handler got, however many of
// those were read ahead.
func TestOrder_afterTakeOver(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{
		"fast handler": 200 * time.Microsecond, "handler of 2 ms": 2 * time.Millisecond, "slow handler": 60 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const old = 40
			total := 1200
			if takes > 50*time.Millisecond {
				total = 70
			}
			b := fixture.NewOn(t, redistest.Start(t))
			b.Publish(total)
			entries := b.ReadAs("dead", old)
			config := fixture.GroupConfig()
			config.ClaimMinIdle, config.ClaimInterval = 5*time.Second, 50*time.Millisecond
			_, messages := b.Subscribe(config)
			var o firstDeliveries
			due, claimed := false, false
			for handled := range total {
				if handled == total/10 {
					b.SetIdle("dead", entries, time.Minute)
				}
				msg := fixture.Receive(t, messages)
				n, first := o.record(msg)
				if due {
					require.Less(t, n, old, "only messages that were read ahead come before the claim")
					due, claimed = false, true
				}
				if handled >= total/10 && !claimed && pendingOf(b, "dead") < old {
					b.AwaitTwoScans() // wait until the reader has claimed
					due = true
				}
				if first && handled%13 == 5 && !due {
					require.True(t, msg.Nack())
					msg = fixture.Receive(t, messages)
				}
				time.Sleep(takes)
				require.True(t, msg.Ack())
			}
			claimedInOrder(t, o.numbers, old)
			require.Len(t, o.numbers, total)
			require.True(t, claimed)
		})
	}
}

// With an OrderingKey the same holds for each key, regardless of nacks and other keys.
func TestOrder_afterTakeOverWithKeys(t *testing.T) {
	t.Parallel()
	const old, total, keys = 100, 1000, 9
	b := fixture.New(t)
	b.Publish(total)
	entries := b.ReadAs("dead", old)
	config := fixture.GroupConfig()
	config.ClaimMinIdle, config.ClaimInterval = 5*time.Second, 50*time.Millisecond
	config.MaxInFlight = 8
	key := func(msg *message.Message) string {
		n, _ := strconv.Atoi(string(msg.Payload))
		return fmt.Sprint(n % keys)
	}
	config.OrderingKey = key
	_, messages := b.Subscribe(config)
	var orders [keys]firstDeliveries
	handled := make(chan struct{}, total)
	for range 8 {
		go func() {
			for msg := range messages {
				k, _ := strconv.Atoi(key(msg))
				n, first := orders[k].record(msg)
				time.Sleep(time.Duration(n%5) * time.Millisecond)
				if first && n%17 == 3 {
					msg.Nack()
					continue
				}
				msg.Ack()
				handled <- struct{}{}
			}
		}()
	}
	wait := func(n int) {
		t.Helper()
		limit := time.After(3 * fixture.Soon)
		for range n {
			select {
			case <-handled:
			case <-limit:
				require.FailNow(t, "messages are stuck", "%d are pending", b.Pending())
			}
		}
	}
	wait(150)
	b.SetIdle("dead", entries, time.Minute)
	wait(total - 150)
	for k := range orders {
		claimedInOrder(t, orders[k].numbers, old)
	}
}

func TestOrder_ofTheStreamOneAtATime(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1000)
	for i := range 1000 {
		msg := fixture.Receive(t, messages)
		require.Equal(t, fmt.Sprint(i), string(msg.Payload))
		if i%100 == 0 {
			fixture.NothingComes(t, messages, 5*time.Millisecond)
		}
		if i%50 == 7 {
			msg.Nack()
			again := fixture.Receive(t, messages)
			require.Equal(t, fmt.Sprint(i), string(again.Payload), "a nacked message comes before its successors")
			msg = again
		}
		msg.Ack()
	}
	b.Eventually("all acknowledged", func() bool { return b.Pending() == 0 })
}
