package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handler that takes many times ClaimMinIdle keeps its entry. The entries that wait behind it or
// in a nack backoff are kept too. Another consumer tries to claim entries all the time.
func TestLease_slowHandlerKeepsItsEntries(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.FastClaimConfig()
			config.MaxInFlight = workers
			config.NackBackoff = func(int) time.Duration { return 4 * config.ClaimMinIdle }
			_, slow := b.Subscribe(config)
			b.Publish(3)
			first := fixture.Receive(t, slow)
			_, other := b.Subscribe(config)
			if workers > 1 {
				fixture.Receive(t, slow).Nack() // waits in its backoff
				fixture.Receive(t, slow).Nack()
			} else {
				assert.ElementsMatch(t, []string{"1", "2"}, fixture.ReceiveAll(t, other, 2), "entries that nobody has read ahead")
			}
			fixture.NothingComes(t, other, 4*config.ClaimMinIdle)
			require.NoError(t, first.Context().Err())
			first.Ack()
			if workers > 1 {
				for range 2 {
					msg := fixture.Receive(t, slow)
					assert.EqualValues(t, 2, fixture.EntryOf(t, msg).Deliveries)
					msg.Ack()
				}
			}
			b.Eventually("all acknowledged", func() bool { return b.Pending() == 0 })
			fixture.NothingComes(t, other, 2*config.ClaimMinIdle)
		})
	}
}

// When another consumer takes an entry over, the message's context ends. An ack still counts,
// because the work is done. A nack does not redeliver the entry here.
func TestLease_lost(t *testing.T) {
	t.Parallel()
	for _, ack := range []bool{true, false} {
		t.Run(fmt.Sprint(ack), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			_, messages := b.Subscribe(fixture.FastClaimConfig())
			b.Publish(1)
			msg := fixture.Receive(t, messages)
			other := &redis.XClaimArgs{Stream: b.Topic, Group: "g", Consumer: "other", Messages: []string{fixture.EntryOf(t, msg).ID}}
			require.NoError(t, b.Client.XClaim(t.Context(), other).Err())
			fixture.WaitDone(t, msg.Context().Done(), "the context ends when the lease is lost")
			if ack {
				msg.Ack()
				b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
				return
			}
			keep := *other
			keep.MinIdle = 0
			msg.Nack()
			deadline := time.Now().Add(600 * time.Millisecond)
			for time.Now().Before(deadline) { // the other consumer renews its lease
				require.NoError(t, b.Client.XClaimJustID(t.Context(), &keep).Err())
				fixture.NothingComes(t, messages, 20*time.Millisecond)
			}
		})
	}
}

// Entries that were trimmed while pending are logged, and block nothing.
func TestLease_trimmed(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	require.NoError(t, b.Client.XTrimMaxLen(t.Context(), b.Topic, 0).Err())
	b.Eventually("the trimmed entry is logged", func() bool { return log.Count("trimmed") > 0 })
	require.NoError(t, msg.Context().Err(), "the handler may finish")
	msg.Ack()
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)
	assert.Equal(t, 1, log.Count("trimmed"))
}
