package redisstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeadLetterTopic(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"orders":       "{orders}:dead-letter",
		"{shop}orders": "{shop}orders:dead-letter",
		"a{b}c{d}":     "a{b}c{d}:dead-letter",
		"a{b":          "{a{b}:dead-letter",
		"a{}b":         "a{}b:dead-letter",
	} {
		assert.Equal(t, want, redisstream.DeadLetterTopic(topic))
	}
}

// letters returns what is in the topic's dead-letter stream.
func (b *bench) letters() []redis.XMessage {
	b.Helper()
	letters, err := b.client.XRange(context.Background(), redisstream.DeadLetterTopic(b.topic), "-", "+").Result()
	require.NoError(b, err)
	return letters
}

func TestDeadLetter_undecodableEntry(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(1)
	id, err := b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", "entry\xff", "more", "fields"}}).Result()
	require.NoError(t, err)
	b.publish(50)
	_, messages := b.subscribe(inGroupG())
	assert.Equal(t, append([]string{"0"}, upTo(50)...), receiveAll(t, messages, 51), "in nobody's way")
	b.eventually("nothing stays pending", func() bool { return b.pending() == 0 })
	letters := b.letters()
	require.Len(t, letters, 1)
	assert.Equal(t, "entry\xff", letters[0].Values["foreign"])
	assert.Equal(t, "fields", letters[0].Values["more"])
	assert.Equal(t, id, letters[0].Values[redisstream.DeadLetterIDKey])
	assert.Equal(t, b.topic, letters[0].Values[redisstream.DeadLetterStreamKey])
	assert.Equal(t, "g", letters[0].Values[redisstream.DeadLetterGroupKey])
	assert.Equal(t, "0", letters[0].Values[redisstream.DeadLetterDeliveriesKey], "no handler saw it")
	assert.NotEmpty(t, letters[0].Values[redisstream.DeadLetterConsumerKey])
	at, err := time.Parse(time.RFC3339Nano, letters[0].Values[redisstream.DeadLetterTimeKey].(string))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), at, time.Minute)

	// A subscriber of the dead-letter topic sees the fields and the reason.
	dead, err := b.subscriber(redisstream.SubscriberConfig{StartID: "0"}).Subscribe(t.Context(), redisstream.DeadLetterTopic(b.topic))
	require.NoError(t, err)
	msg := receive(t, dead)
	var fields map[string]string
	require.NoError(t, json.Unmarshal(msg.Payload, &fields))
	assert.Equal(t, "fields", fields["more"])
	assert.Len(t, fields, 2)
	assert.Contains(t, msg.Metadata.Get(redisstream.DeadLetterReasonKey), "_watermill_message_uuid")
	msg.Ack()
}

func TestDeadLetter_maxDeliveriesByNacks(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 4} {
		t.Run(fmt.Sprint(lanes), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			config := inGroupG()
			config.MaxDeliveries, config.MaxInFlight = 3, lanes
			config.NackBackoff = func(int) time.Duration { return 0 }
			_, messages := b.subscribe(config)
			b.publish(20)
			deliveries := map[string]int{}
			for acked := 0; acked < 19 || deliveries["7"] < 3; {
				msg := receive(t, messages)
				deliveries[string(msg.Payload)]++
				if string(msg.Payload) == "7" {
					msg.Nack()
				} else {
					msg.Ack()
					acked++
				}
			}
			b.eventually("dead-lettered", func() bool { return len(b.letters()) == 1 && b.pending() == 0 })
			nothingComes(t, messages, 20*time.Millisecond)
			assert.Equal(t, 3, deliveries["7"])
			assert.Equal(t, "3", b.letters()[0].Values[redisstream.DeadLetterDeliveriesKey])
			assert.Equal(t, "7", b.letters()[0].Values["payload"])
			assert.Contains(t, b.letters()[0].Values[redisstream.DeadLetterReasonKey], "3 times")
		})
	}
}

// crash ends a subscription as the death of its process would: nothing is acknowledged, released or renewed any
// more. What it held is idle for ever at once, so that nobody has to wait.
func (b *bench) crash(held ...*message.Message) {
	b.Helper()
	for _, msg := range held {
		require.NoError(b, b.client.Do(b.Context(), "xclaim", b.topic, "g", "dead", 0, entryOf(b, msg).ID, "time", 1, "justid").Err())
	}
}

// A message that kills its process counts, across processes; those that were only read ahead with it don't.
func TestDeadLetter_maxDeliveriesByCrashes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := fastClaims()
	config.MaxDeliveries = 3
	b.publish(5)
	_, first := b.subscribe(config)
	killer := receive(t, first)
	b.crash(killer)
	for delivery := int64(2); delivery <= 3; delivery++ {
		_, next := b.subscribe(config)
		for {
			msg := receive(t, next)
			if string(msg.Payload) != "0" {
				msg.Ack()
				continue
			}
			require.Equal(t, delivery, entryOf(t, msg).Deliveries)
			b.crash(msg)
			break
		}
	}
	_, last := b.subscribe(config)
	b.eventually("dead-lettered", func() bool { return len(b.letters()) == 1 })
	assert.Equal(t, "0", b.letters()[0].Values["payload"])
	assert.Equal(t, "3", b.letters()[0].Values[redisstream.DeadLetterDeliveriesKey])
	for b.pending() > 0 {
		select {
		case msg := <-last:
			require.NotEqual(t, "0", string(msg.Payload))
			msg.Ack()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// What was only read ahead when its consumer died is not counted, however often that happens.
func TestDeadLetter_readAheadDoesNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(1)
	b.handOut("dead", 1)
	config := fastClaims()
	config.MaxDeliveries = 2
	for range 4 { // each claims the entry, and closes before its handler takes it
		subscriber, _ := b.subscribe(config)
		b.eventually("claimed", func() bool {
			rows, err := b.client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: b.topic, Group: "g", Start: "-", End: "+", Count: 1}).Result()
			require.NoError(t, err)
			return len(rows) == 1 && rows[0].Consumer != "dead" && rows[0].Idle < config.ClaimMinIdle
		})
		require.NoError(t, subscriber.Close())
	}
	_, messages := b.subscribe(config)
	receiveAll(t, messages, 1)
	assert.Empty(t, b.letters())
}

func TestDeadLetter_ownTopicHasNone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.topic = redisstream.DeadLetterTopic(b.topic)
	b.publish(1)
	config := inGroupG()
	config.MaxDeliveries = 2
	_, messages := b.subscribe(config)
	for range 5 {
		receive(t, messages).Nack()
	}
	receive(t, messages).Ack()
	assert.Empty(t, b.letters())
}

func TestReplayDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.MaxDeliveries = 1
	_, messages := b.subscribe(config)
	b.publish(250)
	for range 250 {
		receive(t, messages).Nack()
	}
	b.eventually("dead-lettered", func() bool { return len(b.letters()) == 250 })
	moved, err := redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 3)
	require.NoError(t, err)
	assert.Equal(t, 3, moved)
	assert.Equal(t, upTo(3), receiveAll(t, messages, 3))
	moved, err = redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 1000)
	require.NoError(t, err)
	assert.Equal(t, 247, moved)
	for i := 3; i < 250; i++ {
		msg := receive(t, messages)
		require.Equal(t, fmt.Sprint(i), string(msg.Payload))
		require.Empty(t, msg.Metadata, "a new entry, as it was published first")
		msg.Ack()
	}
	assert.Empty(t, b.letters())
	_, err = redisstream.ReplayDeadLetters(t.Context(), b.server.Client(t, func(o *redis.Options) {
		o.Dialer = func(context.Context, string, string) (net.Conn, error) { return nil, errNoServer }
		o.MaxRetries, o.DialerRetries = -1, 1
	}), b.topic, 1)
	require.ErrorIs(t, err, errNoServer)
	require.ErrorContains(t, err, b.topic)
}

var errNoServer = errors.New("no server here")
