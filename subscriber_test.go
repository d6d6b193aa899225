package redisstream_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSubscribe_deliversInStreamOrderOneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, messages := b.subscribe(inGroupG())
	b.publish(1000)
	for i := range 1000 {
		msg := receive(t, messages)
		require.Equal(t, fmt.Sprint(i), string(msg.Payload))
		if i%100 == 0 {
			nothingComes(t, messages, 5*time.Millisecond)
		}
		if i%50 == 7 {
			msg.Nack()
			again := receive(t, messages)
			require.Equal(t, fmt.Sprint(i), string(again.Payload), "a nacked message comes before its successors")
			msg = again
		}
		msg.Ack()
	}
	b.eventually("all acknowledged", func() bool { return b.pending() == 0 })
}

func TestSubscribe_nackedMessageIsWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	type key struct{}
	subscriber := b.subscriber(inGroupG())
	messages, err := subscriber.Subscribe(context.WithValue(t.Context(), key{}, "value"), b.topic)
	require.NoError(t, err)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.client}, nil)
	require.NoError(t, err)
	msg := message.NewMessage("uuid", []byte("payload"))
	msg.Metadata.Set("k", "v")
	require.NoError(t, publisher.Publish(b.topic, msg))

	first := receive(t, messages)
	entry := entryOf(t, first)
	assert.Equal(t, b.topic, entry.Stream)
	assert.Equal(t, "g", entry.Group)
	assert.NotEmpty(t, entry.Consumer)
	assert.EqualValues(t, 1, entry.Deliveries)
	first.Payload[0] = 'X' // whatever the handler does to it
	first.Metadata.Set("k", "changed")
	first.Nack()
	waitDone(t, first.Context().Done(), "the context ends with the nack")

	second := receive(t, messages)
	assert.Equal(t, "uuid", second.UUID)
	assert.Equal(t, "payload", string(second.Payload))
	assert.Equal(t, message.Metadata{"k": "v"}, second.Metadata)
	assert.Equal(t, "value", second.Context().Value(key{}))
	assert.NoError(t, second.Context().Err())
	again := entryOf(t, second)
	assert.Equal(t, entry.ID, again.ID)
	assert.EqualValues(t, 2, again.Deliveries)
	rows, err := b.client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: b.topic, Group: "g", Start: "-", End: "+", Count: 1}).Result()
	require.NoError(t, err)
	assert.EqualValues(t, 2, rows[0].RetryCount, "the server counts our deliveries too")
	second.Ack()
	waitDone(t, second.Context().Done(), "the context ends with the ack")
}

func TestSubscribe_inFlight(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.MaxInFlight = 8
	_, messages := b.subscribe(config)
	b.publish(100)
	var held []*message.Message
	for range 8 {
		held = append(held, receive(t, messages))
	}
	nothingComes(t, messages, 50*time.Millisecond)
	held[3].Nack() // parked: the lane goes on, and the message comes back
	seen := map[string]bool{string(held[3].Payload): false}
	for !seen[string(held[3].Payload)] {
		msg := receive(t, messages)
		seen[string(msg.Payload)] = true
		msg.Ack()
	}
	for i, msg := range held {
		if i != 3 {
			seen[string(msg.Payload)] = true
			msg.Ack()
		}
	}
	for len(seen) < 100 {
		msg := receive(t, messages)
		seen[string(msg.Payload)] = true
		msg.Ack()
	}
	b.eventually("all acknowledged", func() bool { return b.pending() == 0 })
}

func TestSubscribe_orderingKey(t *testing.T) {
	t.Parallel()
	const keys, each = 7, 60
	b := newBench(t)
	config := inGroupG()
	config.MaxInFlight = 16
	config.OrderingKey = func(msg *message.Message) string { return msg.Metadata.Get("key") }
	_, messages := b.subscribe(config)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.client}, nil)
	require.NoError(t, err)
	for i := range each {
		for k := range keys {
			msg := message.NewMessage("", []byte(fmt.Sprint(i)))
			msg.Metadata.Set("key", fmt.Sprint(k))
			require.NoError(t, publisher.Publish(b.topic, msg))
		}
	}
	var mu sync.Mutex
	order := map[string][]string{}
	working := map[string]bool{}
	parallel, most := 0, 0
	var handlers sync.WaitGroup
	for done := 0; done < keys*each; {
		msg := receive(t, messages)
		key := msg.Metadata.Get("key")
		mu.Lock()
		require.False(t, working[key], "one message of a key at a time")
		working[key] = true
		parallel++
		most = max(most, parallel)
		first := len(order[key]) == 0 || !slices.Contains(order[key], string(msg.Payload)+" nacked")
		nack := string(msg.Payload) == "20" && first
		if nack {
			order[key] = append(order[key], "20 nacked")
		} else {
			order[key] = append(order[key], string(msg.Payload))
			done++
		}
		mu.Unlock()
		handlers.Go(func() {
			time.Sleep(time.Millisecond) // work
			mu.Lock()
			working[key] = false
			parallel--
			mu.Unlock()
			if nack {
				msg.Nack()
			} else {
				msg.Ack()
			}
		})
	}
	handlers.Wait()
	want := slices.Insert(upTo(each), 20, "20 nacked")
	for k := range keys {
		assert.Equal(t, want, order[fmt.Sprint(k)])
	}
	assert.Greater(t, most, 1, "keys run in parallel")
}

func TestSubscribe_severalOnOneSubscriber(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.Consumer = "fixed"
	subscriber, first := b.subscribe(config)
	second, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	b.publish(2)
	one, two := receive(t, first), receive(t, second)
	names := []string{entryOf(t, one).Consumer, entryOf(t, two).Consumer}
	slices.Sort(names)
	assert.Equal(t, []string{"fixed", "fixed#2"}, names)
	one.Ack()
	two.Ack()
	b.eventually("all acknowledged", func() bool { return b.pending() == 0 })
}

func TestSubscribe_fixedConsumerBeginsWithItsOwnPendingEntries(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(300)
	// An earlier process died with 250 entries, of which it had acknowledged one.
	entries := b.handOut("fixed", 250)
	require.NoError(t, b.client.XAck(t.Context(), b.topic, "g", entries[100].ID).Err())
	config := inGroupG()
	config.Consumer = "fixed"
	_, messages := b.subscribe(config)
	first := receive(t, messages)
	assert.EqualValues(t, 2, entryOf(t, first).Deliveries, "the delivery that died counts")
	first.Ack()
	want := slices.Delete(upTo(300), 100, 101)
	assert.Equal(t, want[1:], receiveAll(t, messages, 298))
}

func TestSubscribe_startID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(3)
	all, err := b.client.XRange(t.Context(), b.topic, "-", "+").Result()
	require.NoError(t, err)
	for _, group := range []string{"", "group"} {
		for start, want := range map[string][]string{"0": upTo(3), all[0].ID: {"1", "2"}, "$": nil} {
			t.Run(group+start, func(t *testing.T) {
				t.Parallel()
				config := redisstream.SubscriberConfig{StartID: start}
				if group != "" {
					config.ConsumerGroup = group + start
				}
				own := *b
				own.T = t
				_, messages := own.subscribe(config)
				assert.Equal(t, want, append([]string(nil), receiveAll(t, messages, len(want))...))
				nothingComes(t, messages, 20*time.Millisecond)
			})
		}
	}
}

func TestSubscribe_autoAck(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.AutoAck = true
	subscriber, messages := b.subscribe(config)
	b.publish(100)
	msg := receive(t, messages)
	assert.Zero(t, b.pending())
	msg.Nack() // delivered again from memory
	assert.Equal(t, upTo(100), receiveAll(t, messages, 100))
	require.NoError(t, subscriber.Close())
	consumers, err := b.client.XInfoConsumers(t.Context(), b.topic, "g").Result()
	require.NoError(t, err)
	assert.Empty(t, consumers)
}

func TestSubscribe_wrongType(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, b.client.Set(t.Context(), b.topic, "no stream", 0).Err())
	for _, config := range []redisstream.SubscriberConfig{inGroupG(), {}} {
		_, err := b.subscriber(config).Subscribe(t.Context(), b.topic)
		require.ErrorContains(t, err, b.topic)
		require.ErrorContains(t, err, "WRONGTYPE")
	}
	_, err := b.subscriber(inGroupG()).Subscribe(t.Context(), "")
	require.ErrorContains(t, err, "topic is empty")
}

func TestSubscribeInitialize(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.StartID = "$"
	subscriber := b.subscriber(config)
	require.NoError(t, subscriber.SubscribeInitialize(b.topic))
	b.publish(3)
	require.NoError(t, subscriber.SubscribeInitialize(b.topic), "an existing group stays as it is")
	messages, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	assert.Equal(t, upTo(3), receiveAll(t, messages, 3))
	require.NoError(t, subscriber.Close())
	require.ErrorIs(t, subscriber.SubscribeInitialize(b.topic), redisstream.ErrSubscriberClosed)
	require.NoError(t, b.subscriber(redisstream.SubscriberConfig{}).SubscribeInitialize(b.topic))
}

func TestSubscribe_sharedClientSurvivesEveryClose(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, kept := b.subscribe(inGroupG())
	for i := range 10 {
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.client}, nil)
		require.NoError(t, err)
		other := inGroupG()
		other.ConsumerGroup = fmt.Sprint("other", i)
		subscriber, _ := b.subscribe(other)
		require.NoError(t, publisher.Publish(b.topic, message.NewMessage("", []byte(fmt.Sprint(i)))))
		require.NoError(t, publisher.Close())
		require.NoError(t, subscriber.Close())
		require.NoError(t, subscriber.Close(), "safe to repeat")
	}
	assert.Equal(t, upTo(10), receiveAll(t, kept, 10))
}

// The handler's pace decides: four consumers share 40 messages although one was first.
func TestSubscribe_nobodyHoards(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(40)
	var done atomic.Int64
	began := time.Now()
	var consumers sync.WaitGroup
	for range 4 {
		_, messages := b.subscribe(inGroupG())
		consumers.Go(func() {
			for msg := range messages {
				time.Sleep(100 * time.Millisecond) // work
				msg.Ack()
				done.Add(1)
			}
		})
	}
	b.eventually("all done", func() bool { return done.Load() == 40 })
	assert.Less(t, time.Since(began), 2*time.Second, "ten rounds of 100 ms")
	assert.EqualValues(t, 40, done.Load())
	t.Cleanup(consumers.Wait)
}
