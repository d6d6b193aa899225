package redisstream_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// order is the payloads of messages in the order in which they were first handed out.
type order struct {
	mu      sync.Mutex
	numbers []int
	seen    map[int]bool
}

// note reports whether it is the first time.
func (o *order) note(t *testing.T, msg *message.Message) (number int, first bool) {
	t.Helper()
	number, err := strconv.Atoi(string(msg.Payload))
	require.NoError(t, err)
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

// claimedInOrder fails where one of the first old numbers comes behind a larger one that was handed out after the first of them.
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

// pendingSince changes how long entries seem to be idle.
func (b *bench) pendingSince(consumer string, entries []redis.XMessage, idle time.Duration) {
	b.Helper()
	args := []any{"XCLAIM", b.topic, "g", consumer, 0}
	for _, e := range entries {
		args = append(args, e.ID)
	}
	b.do(append(args, "IDLE", idle.Milliseconds(), "JUSTID")...)
}

func (b *bench) ownedBy(consumer string) int {
	b.Helper()
	rows, err := b.client.XPendingExt(b.Context(), &redis.XPendingExtArgs{
		Stream: b.topic, Group: "g", Consumer: consumer, Start: "-", End: "+", Count: 1000,
	}).Result()
	require.NoError(b, err)
	return len(rows)
}

// What a dead member had read comes before all newer messages that no handler has had, however many were read ahead.
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
			b := newBench(t)
			b.publish(total)
			entries := b.handOut("dead", old)
			config := inGroupG()
			config.ClaimMinIdle, config.ClaimInterval = 5*time.Second, 50*time.Millisecond
			_, messages := b.subscribe(config)
			var o order
			due, claimed := false, false
			for handled := 0; handled < total; handled++ {
				if handled == total/10 {
					b.pendingSince("dead", entries, time.Minute)
				}
				msg := receive(t, messages)
				n, first := o.note(t, msg)
				if due {
					require.Less(t, n, old, "what was read ahead comes before what is claimed")
					due, claimed = false, true
				}
				if handled >= total/10 && !claimed && b.ownedBy("dead") < old {
					time.Sleep(50 * time.Millisecond) // what was claimed has come
					due = true
				}
				if first && handled%13 == 5 && !due {
					require.True(t, msg.Nack())
					msg = receive(t, messages)
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

// With an OrderingKey that holds for each key; nacks and other keys do not matter.
func TestOrder_afterTakeOverWithKeys(t *testing.T) {
	t.Parallel()
	const old, total, keys = 100, 1000, 9
	b := newBench(t)
	b.publish(total)
	entries := b.handOut("dead", old)
	config := inGroupG()
	config.ClaimMinIdle, config.ClaimInterval = 5*time.Second, 50*time.Millisecond
	config.MaxInFlight = 8
	key := func(msg *message.Message) string {
		n, _ := strconv.Atoi(string(msg.Payload))
		return fmt.Sprint(n % keys)
	}
	config.OrderingKey = key
	_, messages := b.subscribe(config)
	var orders [keys]order
	handled := make(chan struct{}, total)
	for range 8 {
		go func() {
			for msg := range messages {
				k, _ := strconv.Atoi(key(msg))
				n, first := orders[k].note(t, msg)
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
		limit := time.After(3 * soon)
		for range n {
			select {
			case <-handled:
			case <-limit:
				require.FailNow(t, "messages are stuck", "%d are pending", b.pending())
			}
		}
	}
	wait(150)
	b.pendingSince("dead", entries, time.Minute)
	wait(total - 150)
	for k := range orders {
		claimedInOrder(t, orders[k].numbers, old)
	}
}

// publishKeyed publishes n messages of a key.
func (b *bench) publishKeyed(key string, n int) {
	b.Helper()
	publisher := openPublisher(b.T, redisstream.PublisherConfig{Client: b.client})
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewShortUUID(), []byte(fmt.Sprint(i)))
		messages[i].Metadata.Set("key", key)
		if key == "" {
			messages[i].Metadata.Set("key", fmt.Sprint("other", i))
		}
	}
	require.NoError(b, publisher.Publish(b.topic, messages...))
}

func ofKey(msg *message.Message) string { return msg.Metadata.Get("key") }

// A key whose messages all fail has many of them in front of those of other keys: these are handled all the same.
func TestKeys_oneThatFailsStopsNobody(t *testing.T) {
	t.Parallel()
	for _, poison := range []int{20, 500, 900} {
		t.Run(fmt.Sprint(poison), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.publishKeyed("poison", poison)
			b.publishKeyed("", 50)
			config := inGroupG()
			config.StartID, config.MaxInFlight, config.OrderingKey = "0", 10, ofKey
			_, messages := b.subscribe(config)
			limit := time.After(2*time.Second + soon/5)
			for left := 50; left > 0; {
				select {
				case msg := <-messages:
					if ofKey(msg) == "poison" {
						msg.Nack()
						continue
					}
					msg.Ack()
					left--
				case <-limit:
					require.FailNow(t, "messages of other keys wait", "%d are left", left)
				}
			}
		})
	}
}

// A key that is merely slow delays nobody else, also when a dead member had its messages.
func TestKeys_oneThatIsSlowDelaysNobody(t *testing.T) {
	t.Parallel()
	for _, claimed := range []bool{false, true} {
		t.Run(fmt.Sprint("claimed: ", claimed), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.publishKeyed("slow", 200)
			b.publishKeyed("", 300)
			config := fastClaims()
			config.StartID, config.MaxInFlight, config.OrderingKey, config.CloseTimeout = "0", 10, ofKey, -1
			if claimed {
				config.ClaimMinIdle = 10 * time.Second
				b.pendingSince("dead", b.handOut("dead", 400), time.Hour)
			}
			_, messages := b.subscribe(config)
			limit := time.After(2*time.Second + soon/5)
			for left := 300; left > 0; {
				select {
				case msg := <-messages:
					if ofKey(msg) == "slow" {
						time.AfterFunc(500*time.Millisecond, func() { msg.Ack() })
						continue
					}
					msg.Ack()
					left--
				case <-limit:
					require.FailNow(t, "messages of other keys wait", "%d are left", left)
				}
			}
		})
	}
}
