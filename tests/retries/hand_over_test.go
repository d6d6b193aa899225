package retries

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
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

// The subscription that put a message into the queue is gone. Another member gets it in time.
func TestRetryQueue_anotherMemberTakes(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber, messages := b.Subscribe(shortLease())
	publishWithMetadata(b, 1)
	msg := fixture.Receive(t, messages)
	entry := fixture.EntryOf(t, msg)
	nacked := retryAfter(msg, 600*time.Millisecond)
	b.Eventually("it is in the queue", func() bool { return queued(b) == 1 })
	require.NoError(t, subscriber.Close())
	b.Do("XTRIM", b.Topic, "MAXLEN", 0) // what waits is not in the stream
	_, messages = b.Subscribe(shortLease())
	comesAgain(b, messages, entry, nacked, 600*time.Millisecond)
	assert.Less(t, time.Since(nacked), fixture.Soon)
	nothingIsLeft(b)
}

// Close comes while messages wait in memory: others get them, not too early.
func TestRetryAfter_closeWhileWaiting(t *testing.T) {
	t.Parallel()
	for name, retry := range map[string]func(*message.Message, time.Duration){
		"its key waits": redisstream.RetryAfter, "out of order": redisstream.RetryOutOfOrder,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			subscriber, messages := b.Subscribe(slowLease())
			publishWithMetadata(b, 1)
			msg := fixture.Receive(t, messages)
			entry := fixture.EntryOf(t, msg)
			retry(msg, 1500*time.Millisecond)
			nacked := time.Now()
			msg.Nack()
			require.NoError(t, subscriber.Close())
			assert.EqualValues(t, 1, queued(b))
			assert.Empty(t, b.Consumers(), "nothing keeps the consumer")
			_, messages = b.Subscribe(slowLease())
			comesAgain(b, messages, entry, nacked, 1500*time.Millisecond)
			nothingIsLeft(b)
		})
	}
}

// A handler that still runs after CloseTimeout asks for a retry.
func TestRetryAfter_lateNack(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := slowLease()
	config.CloseTimeout = 50 * time.Millisecond
	subscriber, messages := b.Subscribe(config)
	publishWithMetadata(b, 1)
	msg := fixture.Receive(t, messages)
	entry := fixture.EntryOf(t, msg)
	require.NoError(t, subscriber.Close())
	nacked := retryAfter(msg, 700*time.Millisecond)
	b.Eventually("it is in the queue", func() bool { return queued(b) == 1 })
	_, messages = b.Subscribe(config)
	comesAgain(b, messages, entry, nacked, 700*time.Millisecond)
	nothingIsLeft(b)
}

// The lease of a message of the queue is renewed, so two members never have it at the same time. If
// its consumer falls silent, the other one gets it.
func TestRetryQueue_lease(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := shortLease()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr, o.ReadTimeout = proxy.Addr, 500*time.Millisecond })
	_, messages := b.Subscribe(config)
	publishWithMetadata(b, 1)
	retryAfter(fixture.Receive(t, messages), 200*time.Millisecond)
	msg := fixture.Receive(t, messages)
	entry := fixture.EntryOf(t, msg)
	require.EqualValues(t, 2, entry.Deliveries)
	_, others := b.Subscribe(shortLease())
	fixture.NothingComes(t, others, 4*config.ClaimMinIdle)
	require.NoError(t, msg.Context().Err())
	silent := time.Now()
	proxy.OnSend(func([]byte) (int, bool) { return 0, true })
	comesAgain(b, others, entry, silent, 0)
	proxy.OnSend(func(chunk []byte) (int, bool) { return len(chunk), false })
	fixture.WaitDone(t, msg.Context().Done(), "the first consumer learns that it lost the message")
	msg.Ack() // it ends nothing
	nothingIsLeft(b)
}

// A subscription ends while it has taken messages that no handler has: others get them at once.
func TestRetryQueue_closeReleases(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := slowLease()
	config.MaxInFlight = 1
	subscriber, messages := b.Subscribe(config)
	publishWithMetadata(b, 2)
	for range 2 {
		msg := fixture.Receive(t, messages)
		redisstream.RetryOutOfOrder(msg, 2100*time.Millisecond)
		msg.Nack()
	}
	b.Eventually("both are in the queue", func() bool { return queued(b) == 2 })
	first := fixture.Receive(t, messages)
	closed := make(chan error, 1)
	go func() { closed <- subscriber.Close() }()
	fixture.WaitDone(t, first.Context().Done(), "CloseTimeout")
	require.NoError(t, redistest.Within(t, "Close", closed))
	began := time.Now()
	closing := messages
	_, messages = b.Subscribe(config)
	second := fixture.Receive(t, messages)
	assert.NotEqual(t, first.UUID, second.UUID)
	assert.EqualValues(t, 2, fixture.EntryOf(t, second).Deliveries, "the first delivery of the retry")
	assert.Less(t, time.Since(began), config.ClaimMinIdle, "the lease did not have to end")
	require.True(t, second.Ack())
	first.Ack() // late, and it counts
	assert.Nil(t, redistest.Within(t, "the output closes when the late message is settled", closing))
	nothingIsLeft(b)
}

// Replies are lost while messages go into the queue and come out of it: none is lost, and each comes
// again.
func TestRetryQueue_lostReplies(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := shortLease()
	config.MaxInFlight = 4
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr, o.ReadTimeout = proxy.Addr, 500*time.Millisecond })
	_, messages := b.Subscribe(config)
	const count = 200
	publishWithMetadata(b, count)
	var cuts atomic.Int64
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if rand.IntN(20) > 0 || cuts.Load() >= 100 {
			return len(chunk), false
		}
		cuts.Add(1)
		return rand.IntN(len(chunk) + 1), true
	})
	acked := map[string]bool{}
	for len(acked) < count {
		msg := fixture.Receive(t, messages)
		if fixture.EntryOf(t, msg).Deliveries == 1 {
			retryAfter(msg, time.Duration(150+rand.IntN(300))*time.Millisecond)
			continue
		}
		acked[msg.UUID] = true
		msg.Ack()
	}
	assert.NotZero(t, cuts.Load())
	nothingIsLeft(b)
}

// Messages in the queue survive a restart of the server, and those that are with handlers stay
// theirs.
func TestRetryQueue_serverRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Durable...)
	b := fixture.NewOn(t, server)
	config := slowLease()
	config.MaxInFlight = 2
	_, messages := b.Subscribe(config)
	publishWithMetadata(b, 2)
	held, waiting := fixture.Receive(t, messages), fixture.Receive(t, messages)
	retryAfter(held, 2100*time.Millisecond)
	nacked := retryAfter(waiting, 3*time.Second)
	held = fixture.Receive(t, messages)
	server.Kill()
	server.Restart(t)
	msg := fixture.Receive(t, messages)
	assert.Equal(t, waiting.UUID, msg.UUID)
	assert.GreaterOrEqual(t, time.Since(nacked), 3*time.Second)
	require.NoError(t, held.Context().Err())
	require.True(t, held.Ack())
	require.True(t, msg.Ack())
	nothingIsLeft(b)
}

// Another program deletes or replaces the queue while messages of it are with handlers. Their
// contexts end, and all others are acknowledged as before.
func TestRetryQueue_vanishes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *fixture.Bench, queue string){
		"deleted":  func(b *fixture.Bench, queue string) { b.Do("DEL", queue, queue+":entries") },
		"replaced": func(b *fixture.Bench, queue string) { b.Do("SET", queue, "x"); b.Do("SET", queue+":entries", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := shortLease()
			config.MaxInFlight = 2
			_, messages := b.Subscribe(config)
			b.Publish(1)
			retryAfter(fixture.Receive(t, messages), 200*time.Millisecond)
			held := fixture.Receive(t, messages)
			change(b, redisstream.RetryQueueKey(b.Topic, "g"))
			fixture.WaitDone(t, held.Context().Done(), "it is lost")
			held.Ack()
			b.Publish(10)
			fixture.ReceiveAll(t, messages, 10)
			b.Eventually("all are acknowledged", func() bool { return b.Pending() == 0 })
		})
	}
}

// The effects of a handler and the end of a message of the queue are one step, too.
func TestRetryQueue_commit(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const wait = 2100 * time.Millisecond // its lease does not end meanwhile
	_, messages := b.Subscribe(slowLease())
	b.Publish(1)
	retryAfter(fixture.Receive(t, messages), wait)
	msg := fixture.Receive(t, messages)
	require.NoError(t, redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		tx.Incr(t.Context(), b.Topic+":count")
		return nil
	}))
	nothingIsLeft(b)
	msg.Ack()

	b.Publish(1)
	retryAfter(fixture.Receive(t, messages), wait)
	msg = fixture.Receive(t, messages)
	entry := fixture.EntryOf(t, msg)
	b.Do("HSET", redisstream.RetryQueueKey(b.Topic, "g")+":entries", entry.ID+":holder", "other")
	require.ErrorIs(t, redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		tx.Incr(t.Context(), b.Topic+":count")
		return nil
	}), redisstream.ErrNotHeld)
	assert.Equal(t, "1", b.Client.Get(t.Context(), b.Topic+":count").Val())
	msg.Ack()
	fixture.NothingComes(t, messages, 100*time.Millisecond)
	assert.EqualValues(t, 1, queued(b), "it is its new owner's")
}

// A message of the queue that reaches the delivery limit is a dead letter with all that it had.
func TestRetryQueue_deliveryLimit(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := shortLease()
	config.MaxDeliveries = 3
	_, messages := b.Subscribe(config)
	publishWithMetadata(b, 1)
	var id string
	for range config.MaxDeliveries {
		msg := fixture.Receive(t, messages)
		id = fixture.EntryOf(t, msg).ID
		retryAfter(msg, 160*time.Millisecond)
	}
	b.Eventually("it is a dead letter", func() bool { return len(b.DeadLetters()) == 1 })
	letter := b.DeadLetters()[0].Values
	assert.Equal(t, id, letter[redisstream.DeadLetterIDKey])
	assert.Equal(t, "3", letter[redisstream.DeadLetterDeliveriesKey])
	assert.Equal(t, "m-0", letter[fixture.UUIDField])
	nothingIsLeft(b)
}

func TestReject(t *testing.T) {
	t.Parallel()
	for name, retries := range map[string]int{"from the stream": 0, "from the queue": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			_, messages := b.Subscribe(shortLease())
			publishWithMetadata(b, 1)
			for range retries {
				retryAfter(fixture.Receive(t, messages), 160*time.Millisecond)
			}
			msg := fixture.Receive(t, messages)
			redisstream.Reject(msg, errors.New("no such product"))
			msg.Nack()
			b.Eventually("it is a dead letter", func() bool { return len(b.DeadLetters()) == 1 })
			letter := b.DeadLetters()[0].Values
			assert.Equal(t, "rejected by its handler", letter[redisstream.DeadLetterReasonKey])
			assert.Equal(t, "no such product", letter[redisstream.DeadLetterErrorKey])
			assert.Equal(t, strconv.Itoa(retries+1), letter[redisstream.DeadLetterDeliveriesKey])
			assert.Equal(t, "m-0", letter[fixture.UUIDField])
			nothingIsLeft(b)
		})
	}
}

// Many more messages than fit into memory fail at once, and all come again.
func TestRetryQueue_manyMessages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := shortLease()
	config.MaxInFlight, config.ClaimMinIdle = 16, 2*time.Second
	_, messages := b.Subscribe(config)
	const count = 3000
	b.Publish(count)
	acked, failed := map[string]bool{}, 0
	for len(acked) < count {
		msg := fixture.Receive(t, messages)
		if fixture.EntryOf(t, msg).Deliveries == 1 {
			failed++
			retryAfter(msg, 300*time.Millisecond)
			continue
		}
		acked[msg.UUID] = true
		msg.Ack()
	}
	assert.Equal(t, count, failed)
	nothingIsLeft(b)
}

func TestRetryQueue_cluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t)
	topic := fixture.NewTopic(t)
	config := shortLease()
	config.Client = client
	subscriber, err := redisstream.NewSubscriber(config, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	for _, move := range []bool{false, true} {
		require.NoError(t, publisher.Publish(topic, fixture.Numbered("m", 1)...))
		nacked := retryAfter(fixture.Receive(t, messages), 500*time.Millisecond)
		if move {
			cluster.MoveSlot(t, topic, cluster.Other(t, topic))
		}
		msg := fixture.Receive(t, messages)
		assert.GreaterOrEqual(t, time.Since(nacked), 500*time.Millisecond)
		assert.EqualValues(t, 2, fixture.EntryOf(t, msg).Deliveries)
		require.True(t, msg.Ack())
	}
	require.Eventually(t, func() bool {
		return client.Exists(t.Context(), redisstream.RetryQueueKey(topic, "g")).Val() == 0
	}, fixture.Soon, 5*time.Millisecond)
}

// The server's clock is set back by an hour. What waits comes in time all the same, and so does what
// a consumer had that fell silent.
func TestRetryQueue_clockSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t, 0)
	b := fixture.NewOn(t, server)
	proxy := redistest.NewProxy(t, server.Addr, 0)
	config := shortLease()
	config.MaxInFlight = 2
	config.Client = server.Client(t, func(o *redis.Options) { o.Addr, o.ReadTimeout = proxy.Addr, 500*time.Millisecond })
	_, messages := b.Subscribe(config)
	publishWithMetadata(b, 2)
	first, second := fixture.Receive(t, messages), fixture.Receive(t, messages)
	retryAfter(first, 200*time.Millisecond)
	held := fixture.Receive(t, messages)
	nacked := retryAfter(second, 1500*time.Millisecond)
	b.Eventually("it is in the queue", func() bool { return queued(b) == 2 })
	proxy.OnSend(func([]byte) (int, bool) { return 0, true }) // the first consumer falls silent
	require.NoError(t, server.SetClock(-time.Hour))
	_, others := b.Subscribe(shortLease())
	comesAgain(b, others, redisstream.Entry{ID: fixture.EntryOf(t, held).ID, Deliveries: 2}, nacked, 0)
	comesAgain(b, others, redisstream.Entry{ID: fixture.EntryOf(t, second).ID, Deliveries: 1}, nacked, 1500*time.Millisecond)
	assert.Less(t, time.Since(nacked), time.Minute)
	nothingIsLeft(b)
}
