package idle

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The last live member of a large group looks rarely while the group is idle. It takes over what a
// dead member had just got as soon as the lease is over.
func TestIdle_lastMemberTakesOver(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.GroupConfig()
			config.ClaimMinIdle, config.ClaimInterval = 4*time.Second, 200*time.Millisecond
			_, messages := b.Subscribe(config)
			for i := range 50 {
				b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", fmt.Sprint("dead-", i))
			}
			b.Publish(1)
			fixture.Receive(t, messages).Ack()
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			time.Sleep(after)
			got := time.Now()
			addAndRead(b, "dead-0")
			fixture.Receive(t, messages).Ack()
			assert.GreaterOrEqual(t, time.Since(got), config.ClaimMinIdle)
			assert.Less(t, time.Since(got), config.ClaimMinIdle+config.ClaimInterval+500*time.Millisecond)
		})
	}
}

// addAndRead adds the stream's first entry again. The consumer gets it before those that wait for
// entries.
func addAndRead(b *fixture.Bench, consumer string) {
	b.Helper()
	first, err := b.Client.XRangeN(b.Context(), b.Topic, "-", "+", 1).Result()
	require.NoError(b, err)
	_, err = b.Client.TxPipelined(b.Context(), func(tx redis.Pipeliner) error {
		tx.XAdd(b.Context(), &redis.XAddArgs{Stream: b.Topic, Values: first[0].Values})
		tx.XReadGroup(b.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: consumer, Streams: []string{b.Topic, ">"}})
		return nil
	})
	require.NoError(b, err)
}

// Members that wait for entries do not look for a pause. A message that ends their wait is not
// delivered during a pause, and is released.
func TestIdle_pauseOfWaitingMembers(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	const members = 5
	received := make(chan *message.Message)
	for range members {
		_, messages := b.Subscribe(fixture.GroupConfig())
		go func() {
			for msg := range messages {
				received <- msg
			}
		}()
	}
	blocked := func() int { return number(b, "clients", "blocked_clients") }
	for attempt := 0; ; attempt++ { // until one waits that does not know of the pause
		require.Less(t, attempt, 10)
		b.Eventually("all wait", func() bool { return blocked() == members })
		b.Do("SET", redisstream.PauseKey(b.Topic, "g"), `{"by":"a test"}`)
		time.Sleep(2 * time.Second) // a short wait may end without a look
		if blocked() > 0 {
			break
		}
		b.Do("DEL", redisstream.PauseKey(b.Topic, "g"))
	}
	b.Publish(members)
	b.Eventually("released", func() bool {
		rows, err := b.Client.XPendingExt(b.Context(), &redis.XPendingExtArgs{
			Stream: b.Topic, Group: "g", Start: "-", End: "+", Count: members, Idle: time.Hour,
		}).Result()
		require.NoError(b, err)
		return len(rows) > 0 && len(rows) == int(b.Pending()) && rows[0].RetryCount == 0
	})
	fixture.NothingComes(b, received, 2*time.Second)
	b.Do("DEL", redisstream.PauseKey(b.Topic, "g"))
	for range members {
		msg := fixture.Receive(b.T, received)
		assert.EqualValues(t, 1, fixture.EntryOf(t, msg).Deliveries)
		msg.Ack()
	}
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}
