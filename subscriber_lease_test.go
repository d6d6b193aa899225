package redisstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handler of many times ClaimMinIdle keeps its entry, and so do the entries that wait behind it or in a nack's
// pause, although another consumer looks for what it could claim all the time.
func TestLease_slowHandlerKeepsItsEntries(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 3} {
		t.Run(fmt.Sprint(lanes), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			config := fastClaims()
			config.MaxInFlight = lanes
			config.NackBackoff = func(int) time.Duration { return 4 * config.ClaimMinIdle }
			_, slow := b.subscribe(config)
			b.publish(3)
			first := receive(t, slow)
			_, other := b.subscribe(config)
			if lanes > 1 {
				receive(t, slow).Nack() // in a pause
				receive(t, slow).Nack()
			} else {
				assert.ElementsMatch(t, []string{"1", "2"}, receiveAll(t, other, 2), "read ahead by nobody")
			}
			nothingComes(t, other, 4*config.ClaimMinIdle)
			require.NoError(t, first.Context().Err())
			first.Ack()
			if lanes > 1 {
				for range 2 {
					msg := receive(t, slow)
					assert.EqualValues(t, 2, entryOf(t, msg).Deliveries)
					msg.Ack()
				}
			}
			b.eventually("all acknowledged", func() bool { return b.pending() == 0 })
			nothingComes(t, other, 2*config.ClaimMinIdle)
		})
	}
}

// What a consumer that died held is taken over, its deliveries counted.
func TestClaim_deadConsumer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(500)
	b.handOut("dead", 400)
	_, messages := b.subscribe(fastClaims())
	seen := map[string]int64{}
	for len(seen) < 500 {
		msg := receive(t, messages)
		seen[string(msg.Payload)] = entryOf(t, msg).Deliveries
		msg.Ack()
	}
	assert.EqualValues(t, 2, seen["0"])
	assert.EqualValues(t, 2, seen["399"])
	assert.EqualValues(t, 1, seen["400"])
	b.eventually("all acknowledged", func() bool { return b.pending() == 0 })
}

func TestClaim_shouldClaim(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(250)
	b.handOut("alive", 125)
	b.handOut("dead", 125)
	config := fastClaims()
	config.ShouldClaim = func(row redisstream.PendingEntry) bool { return row.Consumer != "alive" }
	_, messages := b.subscribe(config)
	assert.Equal(t, upTo(250)[125:], receiveAll(t, messages, 125))
	nothingComes(t, messages, 2*config.ClaimMinIdle)
	b.eventually("acknowledged", func() bool { return b.pending() == 125 })
}

func TestClaim_disabled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(1)
	b.handOut("dead", 1)
	config := fastClaims()
	config.ClaimInterval = -1
	_, messages := b.subscribe(config)
	nothingComes(t, messages, 3*config.ClaimMinIdle)
}

// The handler of an entry that somebody took over learns it from its message's context; its ack still counts,
// because its work is done, and its nack does not bring the entry back here.
func TestLease_lost(t *testing.T) {
	t.Parallel()
	for _, ack := range []bool{true, false} {
		t.Run(fmt.Sprint(ack), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, messages := b.subscribe(fastClaims())
			b.publish(1)
			msg := receive(t, messages)
			thief := &redis.XClaimArgs{Stream: b.topic, Group: "g", Consumer: "thief", Messages: []string{entryOf(t, msg).ID}}
			require.NoError(t, b.client.XClaim(t.Context(), thief).Err())
			waitDone(t, msg.Context().Done(), "the context ends when the lease is lost")
			if ack {
				msg.Ack()
				b.eventually("acknowledged", func() bool { return b.pending() == 0 })
				return
			}
			keep := *thief
			keep.MinIdle = 0
			msg.Nack()
			deadline := time.Now().Add(600 * time.Millisecond)
			for time.Now().Before(deadline) { // the thief lives
				require.NoError(t, b.client.XClaimJustID(t.Context(), &keep).Err())
				nothingComes(t, messages, 20*time.Millisecond)
			}
		})
	}
}

// What was claimed ahead of the handler and acknowledged meanwhile by whom it was claimed from is not handled again.
func TestClaim_acknowledgedBeforeItIsHandled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(1000)
	asleep := b.handOut("asleep", 1000)
	config := fastClaims()
	_, messages := b.subscribe(config)
	last := receive(t, messages)
	ahead := func() (n int64) {
		consumers, err := b.client.XInfoConsumers(t.Context(), b.topic, "g").Result()
		require.NoError(t, err)
		for _, consumer := range consumers {
			if consumer.Name != "asleep" {
				n += consumer.Pending
			}
		}
		return n
	}
	for handled := 0; ahead() < 10; handled++ { // how much is claimed ahead depends on how fast we are
		require.Less(t, handled, 900, "nothing is claimed ahead")
		last.Ack()
		last = receive(t, messages)
	}
	var ids []string
	for _, entry := range asleep {
		if entry.ID != entryOf(t, last).ID {
			ids = append(ids, entry.ID)
		}
	}
	require.NoError(t, b.client.XAck(t.Context(), b.topic, "g", ids...).Err())
	last.Ack()
	nothingComes(t, messages, config.ClaimMinIdle)
}

// Entries that were trimmed while pending are logged, and hold up nothing.
func TestLease_trimmed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	config := fastClaims()
	config.Client = b.client
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	messages, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	b.publish(1)
	msg := receive(t, messages)
	require.NoError(t, b.client.XTrimMaxLen(t.Context(), b.topic, 0).Err())
	b.eventually("the trimmed entry is logged", func() bool { return log.Count("trimmed") > 0 })
	require.NoError(t, msg.Context().Err(), "the handler may finish")
	msg.Ack()
	b.publish(1)
	receiveAll(t, messages, 1)
	assert.Equal(t, 1, log.Count("trimmed"))
}

func TestFanout_seesAllThatIsPublishedAfterSubscribe(t *testing.T) {
	t.Parallel()
	for range 20 {
		b := newBench(t)
		b.publish(5)
		_, one := b.subscribe(redisstream.SubscriberConfig{})
		_, two := b.subscribe(redisstream.SubscriberConfig{})
		b.publish(50)
		assert.Equal(t, upTo(50), receiveAll(t, one, 50))
		assert.Equal(t, upTo(50), receiveAll(t, two, 50))
	}
}

// Subscriptions hold none of the user's connections: a hundred on a pool of ten starve nobody.
func TestPool_manySubscriptionsOnASmallPool(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.client = b.server.Client(t, func(o *redis.Options) { o.PoolSize, o.MaxActiveConns, o.PipelinePoolSize = 10, 10, -1 })
	subscriber := b.subscriber(inGroupG())
	topic := b.topic
	for i := range 100 {
		b.topic = fmt.Sprint(topic, i)
		messages, err := subscriber.Subscribe(t.Context(), b.topic)
		require.NoError(t, err)
		b.publish(10)
		require.Equal(t, upTo(10), receiveAll(t, messages, 10))
	}
	for i := range 100 {
		b.topic = fmt.Sprint(topic, i)
		b.eventually("acknowledged", func() bool { return b.pending() == 0 })
	}
}
