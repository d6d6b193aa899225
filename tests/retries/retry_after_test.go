package retries

import (
	"errors"
	"fmt"
	"strings"
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

// slowLease has leases of four seconds: a wait of up to two passes in memory.
func slowLease() redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.ClaimMinIdle, config.ClaimInterval = 4*time.Second, 100*time.Millisecond
	return config
}

// shortLease puts every wait above 150 ms into the retry queue.
func shortLease() redisstream.SubscriberConfig { return fixture.FastClaimConfig() }

// queued counts the messages in the retry queue of the group.
func queued(b *fixture.Bench) int64 {
	b.Helper()
	n, err := b.Client.ZCard(b.Context(), redisstream.RetryQueueKey(b.Topic, "g")).Result()
	require.NoError(b, err)
	return n
}

// nothingIsLeft checks that neither the group nor its retry queue has anything.
func nothingIsLeft(b *fixture.Bench) {
	b.Helper()
	queue := redisstream.RetryQueueKey(b.Topic, "g")
	b.Eventually("nothing is left", func() bool {
		return b.Pending() == 0 && b.Client.Exists(b.Context(), queue, queue+":entries").Val() == 0
	})
}

// retryAfter nacks a message for a retry.
func retryAfter(msg *message.Message, wait time.Duration) (nacked time.Time) {
	redisstream.RetryAfter(msg, wait)
	nacked = time.Now()
	msg.Nack()
	return nacked
}

// comesAgain receives a message that was retried, checks it, and acks it.
func comesAgain(b *fixture.Bench, messages <-chan *message.Message, first redisstream.Entry, nacked time.Time, wait time.Duration) {
	b.Helper()
	msg := fixture.Receive(b, messages)
	assert.GreaterOrEqual(b, time.Since(nacked), wait)
	entry := fixture.EntryOf(b, msg)
	assert.Equal(b, first.ID, entry.ID)
	assert.Equal(b, first.Deliveries+1, entry.Deliveries)
	assert.Equal(b, "value", msg.Metadata.Get("name"))
	require.True(b, msg.Ack())
}

func publishWithMetadata(b *fixture.Bench, n int) {
	b.Helper()
	messages := fixture.Numbered("m", n)
	for _, msg := range messages {
		msg.Metadata.Set("name", "value")
	}
	require.NoError(b, fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client}).Publish(b.Topic, messages...))
}

// A short wait passes in memory and a long one in the retry queue: the message comes again with what
// it had, not earlier.
func TestRetryAfter_comesAgain(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.SubscriberConfig{"in memory": slowLease(), "in the queue": shortLease()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			_, messages := b.Subscribe(config)
			publishWithMetadata(b, 1)
			const wait = 300 * time.Millisecond
			for range 3 {
				msg := fixture.Receive(t, messages)
				entry := fixture.EntryOf(t, msg)
				nacked := retryAfter(msg, wait)
				inQueue := config.ClaimMinIdle/2 < wait
				b.Eventually("it waits", func() bool { return (queued(b) == 1) == inQueue && (b.Pending() == 0) == inQueue })
				comesAgain(b, messages, entry, nacked, wait)
				assert.Less(t, time.Since(nacked), wait+fixture.Soon)
				nothingIsLeft(b)
				publishWithMetadata(b, 1)
			}
		})
	}
}

// Only the group of the handler gets the message again.
func TestRetryAfter_otherGroupsSeeItOnce(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(shortLease())
	config := shortLease()
	config.ConsumerGroup = "other"
	_, others := b.Subscribe(config)
	publishWithMetadata(b, 1)
	msg := fixture.Receive(t, messages)
	nacked := retryAfter(msg, 200*time.Millisecond)
	comesAgain(b, messages, fixture.EntryOf(t, msg), nacked, 200*time.Millisecond)
	require.Equal(t, "value", message.Messages{fixture.Receive(t, others)}[0].Metadata.Get("name"))
	fixture.NothingComes(t, others, 100*time.Millisecond)
	assert.EqualValues(t, 1, b.Len(), "nothing was added to the stream")
}

// What waits for a message that is retried: its key, while the wait passes in memory; and nothing,
// if the wait is long or the handler does not want order.
func TestRetryAfter_whoWaits(t *testing.T) {
	t.Parallel()
	const short, long = time.Second, 2500 * time.Millisecond
	inKeys := slowLease()
	inKeys.MaxInFlight, inKeys.OrderingKey = 4, func(msg *message.Message) string { return string(msg.Payload[:1]) }
	unordered := slowLease()
	unordered.MaxInFlight = 4
	for name, test := range map[string]struct {
		config redisstream.SubscriberConfig
		wait   time.Duration
		retry  func(*message.Message, time.Duration)
		want   string // order of the acks
	}{
		"strict, short":               {slowLease(), short, redisstream.RetryAfter, "a1 a2 b1 b2"},
		"strict, short, out of order": {slowLease(), short, redisstream.RetryOutOfOrder, "a2 b1 b2 a1"},
		"strict, long":                {slowLease(), long, redisstream.RetryAfter, "a2 b1 b2 a1"},
		"keys, short":                 {inKeys, short, redisstream.RetryAfter, "b1 b2 a1 a2"},
		"keys, short, out of order":   {inKeys, short, redisstream.RetryOutOfOrder, "a2 b1 b2 a1"},
		"keys, long":                  {inKeys, long, redisstream.RetryAfter, "a2 b1 b2 a1"},
		"no order":                    {unordered, short, redisstream.RetryAfter, "a2 b1 b2 a1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			for i, payload := range []string{"a1", "a2", "b1", "b2"} {
				fixture.AddPlain(t, b.Client, b.Topic, fmt.Sprint(i+1, "-0"), payload)
			}
			test.config.Unmarshaler = redisstream.PlainMarshaler{}
			_, messages := b.Subscribe(test.config)
			var acked []string
			for len(acked) < 4 {
				msg := fixture.Receive(t, messages)
				if fixture.EntryOf(t, msg).ID == "1-0" && fixture.EntryOf(t, msg).Deliveries == 1 {
					test.retry(msg, test.wait)
					msg.Nack()
					continue
				}
				acked = append(acked, string(msg.Payload))
				time.Sleep(20 * time.Millisecond) // so that keys alternate
				require.True(t, msg.Ack())
			}
			got := strings.Join(acked, " ")
			if strings.HasPrefix(name, "strict") || strings.HasSuffix(name, "short") {
				assert.Equal(t, test.want, got)
			} else { // others are handled at the same time
				assert.Equal(t, "a1", acked[3], got)
			}
		})
	}
}

// A tenth of the messages fails: the others go on meanwhile, and each group handles each message
// once.
func TestRetryAfter_othersFlow(t *testing.T) {
	t.Parallel()
	const count, wait = 500, 3 * time.Second
	long := slowLease()
	long.ClaimMinIdle = 2 * wait
	for name, config := range map[string]redisstream.SubscriberConfig{"in memory": long, "in the queue": slowLease()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config.MaxInFlight = 8
			_, messages := b.Subscribe(config)
			other := slowLease()
			other.ConsumerGroup = "other"
			_, others := b.Subscribe(other)
			b.Publish(count)
			began, done := time.Now(), map[string]int{}
			var failing int
			for len(done) < count {
				msg := fixture.Receive(t, messages)
				if entry := fixture.EntryOf(t, msg); strings.HasSuffix(string(msg.Payload), "0") && entry.Deliveries == 1 {
					failing++
					retryAfter(msg, wait)
					if failing == count/10 {
						assert.Less(t, time.Since(began), wait, "all were delivered before the first came again")
					}
					continue
				}
				done[string(msg.Payload)]++
				require.True(t, msg.Ack())
			}
			assert.Equal(t, count/10, failing)
			for payload, n := range done {
				assert.Equal(t, 1, n, payload)
			}
			assert.Len(t, unique(fixture.ReceiveAll(t, others, count)), count)
			fixture.NothingComes(t, others, 50*time.Millisecond)
			nothingIsLeft(b)
		})
	}
}

func unique(list []string) map[string]bool {
	set := map[string]bool{}
	for _, text := range list {
		set[text] = true
	}
	return set
}

// What the context of a message records, for unit tests of handlers.
func TestRetryAfter_isRecorded(t *testing.T) {
	t.Parallel()
	msg := message.NewMessage("1", nil)
	redisstream.RetryAfter(msg, time.Second) // of another Pub/Sub: no effect
	_, ok := redisstream.RecordedRetry(msg.Context())
	assert.False(t, ok)
	msg.SetContext(redisstream.ContextWithEntry(t.Context(), redisstream.Entry{}))
	redisstream.RetryAfter(msg, time.Minute)
	redisstream.RetryOutOfOrder(msg, time.Second)
	wait, ok := redisstream.RecordedRetry(msg.Context())
	assert.True(t, ok)
	assert.Equal(t, time.Second, wait)
	assert.False(t, redisstream.RecordedReject(msg.Context()))
	reason := errors.New("no milk")
	redisstream.Reject(msg, reason)
	assert.True(t, redisstream.RecordedReject(msg.Context()))
	assert.Equal(t, reason, redisstream.RecordedError(msg.Context()))
}

// An ack counts, whatever was recorded before. A plain nack after a retry is none.
func TestRetryAfter_thenAck(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const wait = 2 * time.Second
	config := slowLease()
	config.NackBackoff = func(int) time.Duration { return 0 }
	_, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	nacked := retryAfter(msg, wait)
	msg = fixture.Receive(t, messages)
	require.GreaterOrEqual(t, time.Since(nacked), wait)
	nacked = time.Now()
	msg.Nack()
	msg = fixture.Receive(t, messages)
	assert.Less(t, time.Since(nacked), wait, "it did not wait again")
	redisstream.Reject(msg, errors.New("no milk"))
	require.True(t, msg.Ack())
	nothingIsLeft(b)
	assert.Empty(t, b.DeadLetters())
}

// Where entries have no leases, every wait passes in memory.
func TestRetryAfter_withoutAcks(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.SubscriberConfig{
		"fan-out": {StartID: "0"}, "auto-ack": {ConsumerGroup: "g", AutoAck: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config.ClaimMinIdle, config.CloseTimeout = 300*time.Millisecond, time.Second
			_, messages := b.Subscribe(config)
			publishWithMetadata(b, 1)
			msg := fixture.Receive(t, messages)
			nacked := retryAfter(msg, 400*time.Millisecond)
			comesAgain(b, messages, fixture.EntryOf(t, msg), nacked, 400*time.Millisecond)
			assert.Zero(t, queued(b))
		})
	}
}

// An entry with more fields than a script passes on waits in this process, and so do all where the
// user may not use the queue. Both are in the log.
func TestRetryAfter_queueRefuses(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(b *fixture.Bench){
		"fields": func(b *fixture.Bench) {
			values := make([]any, 0, 8000)
			for i := range 4000 {
				values = append(values, fmt.Sprint("f", i), "v")
			}
			require.NoError(b, b.Client.XAdd(b.Context(), &redis.XAddArgs{Stream: b.Topic, Values: append(values, "data", "x")}).Err())
		},
		"wrong type": func(b *fixture.Bench) {
			b.Do("SET", redisstream.RetryQueueKey(b.Topic, "g"), "x")
			fixture.AddPlain(b, b.Client, b.Topic, "*", "x")
		},
		"trimmed": func(b *fixture.Bench) { fixture.AddPlain(b, b.Client, b.Topic, "*", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			var log redistest.Log
			config := shortLease()
			config.Client, config.Unmarshaler = b.Client, redisstream.PlainMarshaler{}
			messages := b.SubscribeLogged(config, &log)
			refuse(b)
			msg := fixture.Receive(t, messages)
			if name == "trimmed" {
				b.Do("XTRIM", b.Topic, "MAXLEN", 0)
			}
			nacked := retryAfter(msg, 500*time.Millisecond)
			again := fixture.Receive(t, messages)
			assert.GreaterOrEqual(t, time.Since(nacked), 500*time.Millisecond)
			assert.EqualValues(t, 2, fixture.EntryOf(t, again).Deliveries)
			require.True(t, again.Ack())
			assert.Equal(t, 1, log.Count("messages could not be put into the retry queue"))
			fixture.AddPlain(t, b.Client, b.Topic, "*", "next")
			assert.Equal(t, []string{"next"}, fixture.ReceiveAll(t, messages, 1))
			b.Eventually("all are acknowledged", func() bool { return b.Pending() == 0 })
		})
	}
}
