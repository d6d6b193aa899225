package redisstream_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readAs lets a consumer of a group read n entries, as another process would.
func (b *bench) readAs(group, consumer string, n int) (ids []string) {
	b.Helper()
	streams, err := b.client.XReadGroup(b.Context(), &redis.XReadGroupArgs{
		Group: group, Consumer: consumer, Streams: []string{b.topic, ">"}, Count: int64(n), Block: -1,
	}).Result()
	require.NoError(b, err)
	for _, msg := range streams[0].Messages {
		ids = append(ids, msg.ID)
	}
	return ids
}

func quickRemoval() redisstream.SubscriberConfig {
	config := inGroupG()
	config.BlockTime, config.ConsumerTimeout = 20*time.Millisecond, 200*time.Millisecond
	return config
}

// Consumers with generated names go when their process died, but no live one, none that owns entries and none whose name was given.
func TestConsumers_ofDeadProcessesVanish(t *testing.T) {
	t.Parallel()
	const dead, owner = "host~ABCDEFGHI2", "other~ABCDEFGHI3"
	given := []string{"given", "host~abc", "host~ABCDEFGHI1", "~ABCDEFGHI2x"}
	b := newBench(t)
	b.publish(2)
	b.do("XGROUP", "CREATE", b.topic, "g", "0")
	owned := b.readAs("g", owner, 2)
	for _, name := range append(given, dead) {
		b.do("XGROUP", "CREATECONSUMER", b.topic, "g", name)
	}
	config := quickRemoval()
	config.ClaimInterval = -1
	b.subscribe(config)
	b.subscribe(config)
	b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), dead) })
	for range 3 { // while others go, live ones stay
		b.do("XGROUP", "CREATECONSUMER", b.topic, "g", dead)
		b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), dead) })
		assert.Len(t, b.consumers(), len(given)+3, "the live ones, and the owner")
	}
	assert.Subset(t, b.consumers(), append(given, owner))
	assert.EqualValues(t, 2, b.pending())
	require.NoError(t, b.client.XAck(t.Context(), b.topic, "g", owned...).Err())
	b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), owner) })
}

func TestConsumers_stayWhenDisabled(t *testing.T) {
	t.Parallel()
	config := quickRemoval()
	config.ConsumerTimeout = -1
	b := newBench(t)
	b.subscribe(config)
	b.do("XGROUP", "CREATECONSUMER", b.topic, "g", "host~ABCDEFGHI2")
	nothing := time.After(200 * time.Millisecond)
	for done := false; !done; {
		select {
		case <-nothing:
			done = true
		default:
			require.Contains(t, b.consumers(), "host~ABCDEFGHI2")
		}
	}
}

// A consumer whose Close released entries can't be removed there; it goes when another has handled them.
func TestConsumers_thatReleasedEntriesVanishLater(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(2)
	config := quickRemoval()
	config.CloseTimeout = -1
	first, messages := b.subscribe(config)
	receive(t, messages)
	require.NoError(t, first.Close())
	require.Len(t, b.consumers(), 1, "it owns what it released")
	released := b.consumers()[0]
	config.ClaimInterval = 20 * time.Millisecond
	_, messages = b.subscribe(config)
	receiveAll(t, messages, 2)
	b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), released) })
	assert.Len(t, b.consumers(), 1)
}

func trimming(every time.Duration) redisstream.SubscriberConfig {
	config := inGroupG()
	config.TrimInterval = every
	return config
}

func (b *bench) length() int64 {
	b.Helper()
	n, err := b.client.XLen(b.Context(), b.topic).Result()
	require.NoError(b, err)
	return n
}

// inStream returns those of the IDs that are in the stream.
func (b *bench) inStream(ids []string) (there []string) {
	b.Helper()
	for _, id := range ids {
		entries, err := b.client.XRange(b.Context(), b.topic, id, id).Result()
		require.NoError(b, err)
		if len(entries) > 0 {
			there = append(there, id)
		}
	}
	return there
}

// What every group has acknowledged is dropped, and nothing else, however far apart the groups are.
func TestTrim_dropsWhatAllGroupsAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(500)
	b.do("XGROUP", "CREATE", b.topic, "slow", "0")
	read := b.readAs("slow", "consumer", 300)
	_, messages := b.subscribe(trimming(20 * time.Millisecond))
	receiveAll(t, messages, 500)
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
	require.NoError(t, b.client.XAck(t.Context(), b.topic, "slow", read[:120]...).Err())
	b.eventually("dropped", func() bool { return b.length() <= 380 })
	require.NoError(t, b.client.XAck(t.Context(), b.topic, "slow", read[150:]...).Err())
	b.publish(1) // a turn later
	receiveAll(t, messages, 1)
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
	assert.Equal(t, read[120:150], b.inStream(read[120:150]), "these are pending")
	assert.Empty(t, b.inStream(read[:120]))
	rest := b.readAs("slow", "consumer", 1000)
	assert.Len(t, rest, 201, "these were not read")
	require.NoError(t, b.client.XAck(t.Context(), b.topic, "slow", append(rest, read...)...).Err())
	b.eventually("dropped", func() bool { return b.length() == 0 })
}

// From Redis 8.2 on what lies between pending entries is dropped too.
func TestTrim_betweenPendingEntries(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(500)
	supported := b.client.Do(t.Context(), "XTRIM", b.topic, "MINID", "0", "ACKED").Err() == nil
	config := trimming(20 * time.Millisecond)
	config.MaxInFlight = 2
	_, messages := b.subscribe(config)
	held := receive(t, messages)
	receiveAll(t, messages, 499)
	b.eventually("acknowledged", func() bool { return b.pending() == 1 })
	if supported {
		b.eventually("dropped", func() bool { return b.length() == 1 })
	}
	assert.Len(t, b.inStream([]string{entryOf(t, held).ID}), 1)
	held.Ack()
	b.eventually("dropped", func() bool { return b.length() == 0 })
}

// A group that reads nothing keeps all, and so do a minimum age and a minimum length.
func TestTrim_keeps(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change      func(b *bench, config *redisstream.SubscriberConfig)
		least, most int64
	}{
		"what a group did not read": {func(b *bench, _ *redisstream.SubscriberConfig) {
			b.do("XGROUP", "CREATE", b.topic, "never", "0")
		}, 1000, 1000},
		"a minimum age":    {func(_ *bench, c *redisstream.SubscriberConfig) { c.TrimMinAge = time.Hour }, 1000, 1000},
		"a minimum length": {func(_ *bench, c *redisstream.SubscriberConfig) { c.TrimMinLen = 333 }, 333, 433},
		"nothing":          {func(*bench, *redisstream.SubscriberConfig) {}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.publish(1000)
			config := trimming(10 * time.Millisecond)
			test.change(b, &config)
			_, messages := b.subscribe(config)
			receiveAll(t, messages, 1000)
			b.eventually("acknowledged", func() bool { return b.pending() == 0 })
			b.eventually("dropped", func() bool { return b.length() <= test.most })
			for range 5 {
				nothingComes(t, messages, 20*time.Millisecond) // further turns
				require.GreaterOrEqual(t, b.length(), test.least)
			}
		})
	}
}

// Much is dropped in pieces, so that the server serves others in between.
func TestTrim_inPieces(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const total = 25_000
	pipe := b.client.Pipeline()
	for i := range total {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, ID: fmt.Sprint(1+i/1000, "-", i%1000+1), Values: []any{"data", ""}})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	b.do("XGROUP", "CREATE", b.topic, "g", fmt.Sprint(total/1000, "-900"))
	config := trimming(10 * time.Millisecond)
	config.Unmarshaler = redisstream.PlainMarshaler{}
	_, messages := b.subscribe(config)
	first := receive(t, messages)
	b.eventually("dropped", func() bool { return b.length() == 100 })
	first.Ack()
	receiveAll(t, messages, 99)
	b.eventually("dropped", func() bool { return b.length() == 0 })
}

func TestPublish_MaxAgeDropsWhatIsOld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 500 {
		b.do("XADD", b.topic, fmt.Sprint(time.Now().Add(-time.Hour).UnixMilli(), "-", i), "data", "")
	}
	for i := range 50 {
		b.do("XADD", b.topic, fmt.Sprint(time.Now().Add(-time.Minute).UnixMilli(), "-", i), "data", "")
	}
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: b.client, MaxAge: 30 * time.Minute})
	require.NoError(t, publisher.Publish(b.topic, numbered("new", 2)...))
	assert.GreaterOrEqual(t, b.length(), int64(52), "what is younger stays")
	assert.LessOrEqual(t, b.length(), int64(152), "and a part of a node of the stream")
}

// What is trimmed before the group read it is counted, once.
func TestTrim_unreadEntriesAreCounted(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	for _, test := range []struct{ added, left int }{{100, 20}, {50, 30}, {500, 0}} {
		var log redistest.Log
		config := fastClaims()
		config.Client = b.client
		subscriber, err := redisstream.NewSubscriber(config, log.Logger())
		require.NoError(t, err)
		messages, err := subscriber.Subscribe(t.Context(), b.topic)
		require.NoError(t, err)
		b.twoTurns()
		b.publish(1)
		held := receive(t, messages) // a new subscription reads nothing ahead
		b.publish(test.added)
		require.NoError(t, b.client.XTrimMaxLen(t.Context(), b.topic, int64(test.left)).Err())
		const line = "before the group read them"
		b.eventually("counted", func() bool { return log.Count(line) == 1 })
		assert.Equal(t, 1, log.Count(fmt.Sprintf(" count=%d ", test.added-test.left)))
		b.twoTurns()
		held.Ack()
		assert.Equal(t, upTo(test.added)[test.added-test.left:], receiveAll(t, messages, test.left))
		b.twoTurns()
		require.NoError(t, subscriber.Close())
		assert.Equal(t, 1, log.Count(line))
	}
}
