package deadletters

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
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeadLetter_undecodableEntry(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	id, err := b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", "entry\xff", "more", "fields"}}).Result()
	require.NoError(t, err)
	b.Publish(50)
	_, messages := b.Subscribe(fixture.GroupConfig())
	assert.Equal(t, append([]string{"0"}, fixture.Payloads(50)...), fixture.ReceiveAll(t, messages, 51), "it blocks no other entry")
	b.Eventually("nothing stays pending", func() bool { return b.Pending() == 0 })
	deadLetters := b.DeadLetters()
	require.Len(t, deadLetters, 1)
	assert.Equal(t, "entry\xff", deadLetters[0].Values["foreign"])
	assert.Equal(t, "fields", deadLetters[0].Values["more"])
	assert.Equal(t, id, deadLetters[0].Values[redisstream.DeadLetterIDKey])
	assert.Equal(t, b.Topic, deadLetters[0].Values[redisstream.DeadLetterStreamKey])
	assert.Equal(t, "g", deadLetters[0].Values[redisstream.DeadLetterGroupKey])
	assert.Equal(t, "0", deadLetters[0].Values[redisstream.DeadLetterDeliveriesKey], "no handler got it")
	assert.NotEmpty(t, deadLetters[0].Values[redisstream.DeadLetterConsumerKey])
	at, err := time.Parse(time.RFC3339Nano, deadLetters[0].Values[redisstream.DeadLetterTimeKey].(string))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), at, time.Minute)

	// A subscriber of the dead-letter topic gets the fields and the reason.
	dead, err := b.Subscriber(redisstream.SubscriberConfig{StartID: "0"}).Subscribe(t.Context(), redisstream.DeadLetterTopic(b.Topic))
	require.NoError(t, err)
	msg := fixture.Receive(t, dead)
	var fields map[string]string
	require.NoError(t, json.Unmarshal(msg.Payload, &fields))
	assert.Equal(t, "fields", fields["more"])
	assert.Len(t, fields, 2)
	assert.Contains(t, msg.Metadata.Get(redisstream.DeadLetterReasonKey), "_watermill_message_uuid")
	msg.Ack()
}

func TestDeadLetter_maxDeliveriesByNacks(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.GroupConfig()
			config.MaxDeliveries, config.MaxInFlight = 3, workers
			config.NackBackoff = func(int) time.Duration { return 0 }
			_, messages := b.Subscribe(config)
			b.Publish(20)
			deliveries := map[string]int{}
			for acked := 0; acked < 19 || deliveries["7"] < 3; {
				msg := fixture.Receive(t, messages)
				deliveries[string(msg.Payload)]++
				if string(msg.Payload) == "7" {
					msg.Nack()
				} else {
					msg.Ack()
					acked++
				}
			}
			b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 1 && b.Pending() == 0 })
			fixture.NothingComes(t, messages, 20*time.Millisecond)
			assert.Equal(t, 3, deliveries["7"])
			assert.Equal(t, "3", b.DeadLetters()[0].Values[redisstream.DeadLetterDeliveriesKey])
			assert.Equal(t, "7", b.DeadLetters()[0].Values["payload"])
			assert.Contains(t, b.DeadLetters()[0].Values[redisstream.DeadLetterReasonKey], "3 times")
		})
	}
}

// crash ends a subscription as the death of its process would: nothing is acknowledged, released or
// renewed. The entries that it held are idle for so long that others claim them at once.
func crash(b *fixture.Bench, held ...*message.Message) {
	b.Helper()
	for _, msg := range held {
		require.NoError(b, b.Client.Do(b.Context(), "xclaim", b.Topic, "g", "dead", 0, fixture.EntryOf(b, msg).ID, "time", 1, "justid").Err())
	}
}

// Deliveries are counted across processes if a message kills them. Entries that were only read
// ahead are not counted.
func TestDeadLetter_maxDeliveriesByCrashes(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.FastClaimConfig()
	config.MaxDeliveries = 3
	b.Publish(5)
	_, first := b.Subscribe(config)
	killer := fixture.Receive(t, first)
	crash(b, killer)
	for delivery := int64(2); delivery <= 3; delivery++ {
		_, next := b.Subscribe(config)
		for {
			msg := fixture.Receive(t, next)
			if string(msg.Payload) != "0" {
				msg.Ack()
				continue
			}
			require.Equal(t, delivery, fixture.EntryOf(t, msg).Deliveries)
			crash(b, msg)
			break
		}
	}
	_, last := b.Subscribe(config)
	b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 1 })
	assert.Equal(t, "0", b.DeadLetters()[0].Values["payload"])
	assert.Equal(t, "3", b.DeadLetters()[0].Values[redisstream.DeadLetterDeliveriesKey])
	for b.Pending() > 0 {
		select {
		case msg := <-last:
			require.NotEqual(t, "0", string(msg.Payload))
			msg.Ack()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// An entry that was only read ahead when its consumer died is not counted, however often that
// happens.
func TestDeadLetter_readAheadDoesNotCount(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	b.ReadAs("dead", 1)
	config := fixture.FastClaimConfig()
	config.MaxDeliveries = 2
	for range 4 { // each claims the entry and closes before a handler gets it
		subscriber, _ := b.Subscribe(config)
		b.Eventually("claimed", func() bool {
			rows, err := b.Client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: b.Topic, Group: "g", Start: "-", End: "+", Count: 1}).Result()
			require.NoError(t, err)
			return len(rows) == 1 && rows[0].Consumer != "dead" && rows[0].Idle < config.ClaimMinIdle
		})
		require.NoError(t, subscriber.Close())
	}
	_, messages := b.Subscribe(config)
	fixture.ReceiveAll(t, messages, 1)
	assert.Empty(t, b.DeadLetters())
}

func TestDeadLetter_ownTopicHasNone(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Topic = redisstream.DeadLetterTopic(b.Topic)
	b.Publish(1)
	config := fixture.GroupConfig()
	config.MaxDeliveries = 2
	_, messages := b.Subscribe(config)
	for range 5 {
		fixture.Receive(t, messages).Nack()
	}
	fixture.Receive(t, messages).Ack()
	assert.Empty(t, b.DeadLetters())
}

func TestReplayDeadLetters(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.MaxDeliveries = 1
	_, messages := b.Subscribe(config)
	b.Publish(250)
	for range 250 {
		fixture.Receive(t, messages).Nack()
	}
	b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 250 })
	moved, err := redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 3)
	require.NoError(t, err)
	assert.Equal(t, 3, moved)
	assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
	moved, err = redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 1000)
	require.NoError(t, err)
	assert.Equal(t, 247, moved)
	for i := 3; i < 250; i++ {
		msg := fixture.Receive(t, messages)
		require.Equal(t, fmt.Sprint(i), string(msg.Payload))
		require.Empty(t, msg.Metadata, "replayed as it was first published")
		msg.Ack()
	}
	assert.Empty(t, b.DeadLetters())
	_, err = redisstream.ReplayDeadLetters(t.Context(), b.Server.Client(t, func(o *redis.Options) {
		o.Dialer = func(context.Context, string, string) (net.Conn, error) { return nil, errNoServer }
		o.MaxRetries, o.DialerRetries = -1, 1
	}), b.Topic, 1)
	require.ErrorIs(t, err, errNoServer)
	require.ErrorContains(t, err, b.Topic)
}

var errNoServer = errors.New("no server here")
