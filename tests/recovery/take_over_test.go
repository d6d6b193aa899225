package recovery

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// After its clock was set back, the server reports no idle times of pending entries. Entries of a
// dead consumer are taken over all the same, those of a live one are not.
func TestTakeOver_clockSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t, 0)
	b := fixture.NewOn(t, server)
	b.Publish(11)
	b.ReadAs("dead", 10)
	config := fixture.FastClaimConfig()
	config.ClaimMinIdle = time.Second // on a busy machine a renewal may take 300 ms
	holding := config
	holding.ClaimInterval = -1
	_, live := b.Subscribe(holding)
	held := fixture.Receive(t, live)
	assert.Equal(t, "10", string(held.Payload))

	require.NoError(t, server.SetClock(-time.Hour))
	config.MaxInFlight = 4
	_, messages := b.Subscribe(config)
	assert.ElementsMatch(t, fixture.Payloads(10), fixture.ReceiveAll(t, messages, 10))
	fixture.NothingComes(t, live, 2*config.ClaimMinIdle)
	require.NoError(t, held.Context().Err(), "its lease is kept")
	held.Ack()
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}

// With ClaimInterval < 0 nothing is claimed from others. Entries that are pending for our own name
// but not in the inbox are still found.
func TestTakeOver_disabledFindsItsOwnLostReplies(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "fixed"} {
		t.Run("name "+name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			b.Publish(3)
			b.SetIdle("other", b.ReadAs("other", 1), time.Hour)
			config := fixture.FastClaimConfig()
			config.ClaimInterval, config.Consumer = -1, name
			config.MaxInFlight = 1
			_, messages := b.Subscribe(config)
			first := fixture.Receive(t, messages) // the reader has no space for more, so that ReadAs gets the next entry
			own := fixture.EntryOf(t, first).Consumer
			lost := b.ReadAs(own, 1)
			require.Len(t, lost, 1)
			began := time.Now()
			require.True(t, first.Ack())
			msg := fixture.Receive(t, messages)
			assert.Equal(t, lost[0].ID, fixture.EntryOf(t, msg).ID)
			assert.GreaterOrEqual(t, time.Since(began), 250*time.Millisecond, "not before its lease is over")
			require.True(t, msg.Ack())
			b.Eventually("acked", func() bool { return b.Pending() == 1 })
			fixture.NothingComes(t, messages, 2*time.Second)
			rows, err := b.Client.XPendingExt(t.Context(), &redis.XPendingExtArgs{
				Stream: b.Topic, Group: "g", Start: "-", End: "+", Count: 10,
			}).Result()
			require.NoError(t, err)
			require.Len(t, rows, 1)
			assert.Equal(t, "other", rows[0].Consumer)
		})
	}
}

// Entries of a dead consumer are taken over, and its deliveries count.
func TestTakeOver_deadConsumer(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(500)
	b.ReadAs("dead", 400)
	_, messages := b.Subscribe(fixture.FastClaimConfig())
	seen := map[string]int64{}
	for len(seen) < 500 {
		msg := fixture.Receive(t, messages)
		seen[string(msg.Payload)] = fixture.EntryOf(t, msg).Deliveries
		msg.Ack()
	}
	assert.EqualValues(t, 2, seen["0"])
	assert.EqualValues(t, 2, seen["399"])
	assert.EqualValues(t, 1, seen["400"])
	b.Eventually("all acknowledged", func() bool { return b.Pending() == 0 })
}

func TestTakeOver_shouldClaim(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(250)
	b.ReadAs("alive", 125)
	b.ReadAs("dead", 125)
	config := fixture.FastClaimConfig()
	config.ShouldClaim = func(row redisstream.PendingEntry) bool { return row.Consumer != "alive" }
	_, messages := b.Subscribe(config)
	assert.Equal(t, fixture.Payloads(250)[125:], fixture.ReceiveAll(t, messages, 125))
	fixture.NothingComes(t, messages, 2*config.ClaimMinIdle)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 125 })
}

func TestTakeOver_disabled(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	b.ReadAs("dead", 1)
	config := fixture.FastClaimConfig()
	config.ClaimInterval = -1
	_, messages := b.Subscribe(config)
	fixture.NothingComes(t, messages, 3*config.ClaimMinIdle)
}

// An entry is claimed and read ahead. If its earlier owner acknowledges it meanwhile, it is not
// delivered.
func TestTakeOver_acknowledgedBeforeItIsHandled(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1000)
	stopped := b.ReadAs("stopped", 1000)
	config := fixture.FastClaimConfig()
	_, messages := b.Subscribe(config)
	last := fixture.Receive(t, messages)
	ahead := func() (n int64) {
		consumers, err := b.Client.XInfoConsumers(t.Context(), b.Topic, "g").Result()
		require.NoError(t, err)
		for _, consumer := range consumers {
			if consumer.Name != "stopped" {
				n += consumer.Pending
			}
		}
		return n
	}
	for handled := 0; ahead() < 10; handled++ { // the read-ahead depends on the speed of the handler
		require.Less(t, handled, 900, "no claimed entries are read ahead")
		last.Ack()
		last = fixture.Receive(t, messages)
	}
	var ids []string
	for _, entry := range stopped {
		if entry.ID != fixture.EntryOf(t, last).ID {
			ids = append(ids, entry.ID)
		}
	}
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "g", ids...).Err())
	last.Ack()
	fixture.NothingComes(t, messages, config.ClaimMinIdle)
}
