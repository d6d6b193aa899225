package housekeeping

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

func trimming(every time.Duration) redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.TrimInterval = every
	return config
}

// inStream returns the IDs that are in the stream.
func inStream(b *fixture.Bench, ids []string) (there []string) {
	b.Helper()
	for _, id := range ids {
		entries, err := b.Client.XRange(b.Context(), b.Topic, id, id).Result()
		require.NoError(b, err)
		if len(entries) > 0 {
			there = append(there, id)
		}
	}
	return there
}

// Entries that every group has acknowledged are trimmed, and no others, however far apart the
// groups are.
func TestTrim_dropsWhatAllGroupsAcknowledged(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(500)
	b.Do("XGROUP", "CREATE", b.Topic, "slow", "0")
	read := readAs(b, "slow", "consumer", 300)
	_, messages := b.Subscribe(trimming(20 * time.Millisecond))
	fixture.ReceiveAll(t, messages, 500)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "slow", read[:120]...).Err())
	b.Eventually("dropped", func() bool { return b.Len() <= 380 })
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "slow", read[150:]...).Err())
	b.Publish(1) // a scan takes place
	fixture.ReceiveAll(t, messages, 1)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	assert.Equal(t, read[120:150], inStream(b, read[120:150]), "pending entries are kept")
	assert.Empty(t, inStream(b, read[:120]))
	rest := readAs(b, "slow", "consumer", 1000)
	assert.Len(t, rest, 201, "unread entries are kept")
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "slow", append(rest, read...)...).Err())
	b.Eventually("dropped", func() bool { return b.Len() == 0 })
}

// Since Redis 8.2, acknowledged entries between pending ones are trimmed too.
func TestTrim_betweenPendingEntries(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(500)
	supported := b.Client.Do(t.Context(), "XTRIM", b.Topic, "MINID", "0", "ACKED").Err() == nil
	config := trimming(20 * time.Millisecond)
	config.MaxInFlight = 2
	_, messages := b.Subscribe(config)
	held := fixture.Receive(t, messages)
	fixture.ReceiveAll(t, messages, 499)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 1 })
	if supported {
		b.Eventually("dropped", func() bool { return b.Len() == 1 })
	}
	assert.Len(t, inStream(b, []string{fixture.EntryOf(t, held).ID}), 1)
	held.Ack()
	b.Eventually("dropped", func() bool { return b.Len() == 0 })
}

// Trimming keeps entries that a group has not read, a minimum age and a minimum length.
func TestTrim_keeps(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change      func(b *fixture.Bench, config *redisstream.SubscriberConfig)
		least, most int64
	}{
		"what a group did not read": {func(b *fixture.Bench, _ *redisstream.SubscriberConfig) {
			b.Do("XGROUP", "CREATE", b.Topic, "never", "0")
		}, 1000, 1000},
		"a minimum age":    {func(_ *fixture.Bench, c *redisstream.SubscriberConfig) { c.TrimMinAge = time.Hour }, 1000, 1000},
		"a minimum length": {func(_ *fixture.Bench, c *redisstream.SubscriberConfig) { c.TrimMinLen = 333 }, 333, 433},
		"nothing":          {func(*fixture.Bench, *redisstream.SubscriberConfig) {}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			b.Publish(1000)
			config := trimming(10 * time.Millisecond)
			test.change(b, &config)
			_, messages := b.Subscribe(config)
			fixture.ReceiveAll(t, messages, 1000)
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			b.Eventually("dropped", func() bool { return b.Len() <= test.most })
			for range 5 {
				fixture.NothingComes(t, messages, 20*time.Millisecond) // more scans take place
				require.GreaterOrEqual(t, b.Len(), test.least)
			}
		})
	}
}

// Many entries are trimmed in several steps, so that the server can serve others in between.
func TestTrim_inPieces(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const total = 25_000
	pipe := b.Client.Pipeline()
	for i := range total {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, ID: fmt.Sprint(1+i/1000, "-", i%1000+1), Values: []any{"data", ""}})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	b.Do("XGROUP", "CREATE", b.Topic, "g", fmt.Sprint(total/1000, "-900"))
	config := trimming(10 * time.Millisecond)
	config.Unmarshaler = redisstream.PlainMarshaler{}
	_, messages := b.Subscribe(config)
	first := fixture.Receive(t, messages)
	b.Eventually("dropped", func() bool { return b.Len() == 100 })
	first.Ack()
	fixture.ReceiveAll(t, messages, 99)
	b.Eventually("dropped", func() bool { return b.Len() == 0 })
}

// Entries that are trimmed before the group reads them are counted once.
func TestTrim_unreadEntriesAreCounted(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	for _, test := range []struct{ added, left int }{{100, 20}, {50, 30}, {500, 0}} {
		var log redistest.Log
		config := fixture.FastClaimConfig()
		config.Client = b.Client
		subscriber, err := redisstream.NewSubscriber(config, log.Logger())
		require.NoError(t, err)
		messages, err := subscriber.Subscribe(t.Context(), b.Topic)
		require.NoError(t, err)
		b.AwaitTwoScans()
		b.Publish(1)
		held := fixture.Receive(t, messages) // a new subscription does not read ahead
		b.Publish(test.added)
		require.NoError(t, b.Client.XTrimMaxLen(t.Context(), b.Topic, int64(test.left)).Err())
		const line = "before the group read them"
		b.Eventually("counted", func() bool { return log.Count(line) == 1 })
		assert.Equal(t, 1, log.Count(fmt.Sprintf(" count=%d ", test.added-test.left)))
		b.AwaitTwoScans()
		held.Ack()
		assert.Equal(t, fixture.Payloads(test.added)[test.added-test.left:], fixture.ReceiveAll(t, messages, test.left))
		b.AwaitTwoScans()
		require.NoError(t, subscriber.Close())
		assert.Equal(t, 1, log.Count(line))
	}
}
