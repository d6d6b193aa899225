package redisstream_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// quick is how long a Close that waits for nobody may take; the bound of 100 ms is shown by benchmarks/, this one
// holds on a busy machine with the race detector too.
const quick = time.Second

func TestClose_idleSubscription(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	subscriber, messages := b.subscribe(inGroupG())
	b.eventually("the reader waits", func() bool { return b.blockedReaders() == 1 })
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
	_, open := <-messages
	assert.False(t, open)
	_, err := subscriber.Subscribe(t.Context(), b.topic)
	require.ErrorIs(t, err, redisstream.ErrSubscriberClosed)
	assert.Empty(t, b.consumers(), "a generated name vanishes")
}

// blockedReaders is how many clients wait on the stream.
func (b *bench) blockedReaders() (n int) {
	b.Helper()
	return b.clientsThat("cmd=xreadgroup")
}

// connections is how many connections the bench's client and its subscriptions have.
func (b *bench) connections() int {
	b.Helper()
	return b.clientsThat("")
}

func (b *bench) clientsThat(what string) (n int) {
	b.Helper()
	list, err := b.client.Do(context.Background(), "client", "list").Text()
	require.NoError(b, err)
	for line := range strings.Lines(list) {
		if strings.Contains(line, what) && strings.Contains(line, "name="+b.topic) {
			n++
		}
	}
	return n
}

func (b *bench) consumers() []string {
	b.Helper()
	consumers, err := b.client.XInfoConsumers(context.Background(), b.topic, "g").Result()
	require.NoError(b, err)
	names := make([]string, len(consumers))
	for i, consumer := range consumers {
		names[i] = consumer.Name
	}
	return names
}

func TestClose_manySubscriptions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	subscriber := b.subscriber(inGroupG())
	for i := range 50 {
		_, err := subscriber.Subscribe(t.Context(), fmt.Sprint(b.topic, i))
		require.NoError(t, err)
	}
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
}

func TestClose_endsNackBackoff(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 4} {
		b := newBench(t)
		config := inGroupG()
		config.MaxInFlight = lanes
		config.NackBackoff = func(int) time.Duration { return time.Hour }
		subscriber, messages := b.subscribe(config)
		b.publish(1)
		receive(t, messages).Nack()
		nothingComes(t, messages, 10*time.Millisecond)
		began := time.Now()
		require.NoError(t, subscriber.Close())
		assert.Less(t, time.Since(began), quick)
		_, next := b.subscribe(inGroupG())
		assert.EqualValues(t, 2, entryOf(t, receive(t, next)).Deliveries)
	}
}

// An ack that a handler gives while Close is under way is sent, also when the subscription's context ended first.
func TestClose_ackUnderWayCounts(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"close", "context"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			config := inGroupG()
			config.MaxInFlight = 4
			config.CloseTimeout = soon
			subscriber := b.subscriber(config)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			output, err := subscriber.Subscribe(ctx, b.topic)
			require.NoError(t, err)
			b.publish(20)
			var running []*message.Message
			for range 4 {
				running = append(running, receive(t, output))
			}
			connections := b.connections()
			closed := make(chan struct{})
			if end == "context" {
				cancel()
			}
			go func() {
				defer close(closed)
				assert.NoError(t, subscriber.Close())
			}()
			b.eventually("Close is under way", func() bool { return b.connections() < connections })
			nothingComes(t, output, 5*time.Millisecond)
			require.NoError(t, running[0].Context().Err(), "handlers may finish")
			for _, msg := range running[:3] {
				require.True(t, msg.Ack())
			}
			select {
			case <-closed:
				require.Fail(t, "Close did not wait for a handler")
			case <-time.After(20 * time.Millisecond):
			}
			running[3].Nack()
			waitDone(t, closed, "Close returns")
			_, rest := b.subscribe(inGroupG())
			payloads := receiveAll(t, rest, 17)
			for _, msg := range running[:3] {
				assert.NotContains(t, payloads, string(msg.Payload))
			}
		})
	}
}

// A leaves with a backlog read ahead: B has it at once, in spite of a claim time of an hour, and what A's handlers
// never saw is not counted as delivered.
func TestClose_handsOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.ClaimMinIdle = time.Hour
	subscriber, messages := b.subscribe(config)
	b.publish(2000)
	receiveAll(t, messages, 1000)
	b.eventually("a backlog is read ahead", func() bool { return b.pending() > 100 })
	require.NoError(t, subscriber.Close())
	began := time.Now()
	_, next := b.subscribe(config)
	for i := 1000; i < 2000; i++ {
		msg := receive(t, next)
		require.Equal(t, fmt.Sprint(i), string(msg.Payload), "in order")
		require.EqualValues(t, 1, entryOf(t, msg).Deliveries)
		msg.Ack()
	}
	assert.Less(t, time.Since(began), 2*time.Second)
}

// The server may be handing over entries in the very moment of Close: none of them is left behind.
func TestClose_losesNothingThatIsJustComing(t *testing.T) {
	t.Parallel()
	newBench(t).losesNothingAtClose(3000)
}

func (b *bench) losesNothingAtClose(total int) {
	b.Helper()
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := range total {
			assert.NoError(b, b.client.XAdd(b.Context(), &redis.XAddArgs{
				Stream: b.topic, Values: []string{"data", fmt.Sprint(i)},
			}).Err())
		}
	})
	config := inGroupG()
	config.Unmarshaler = redisstream.PlainMarshaler{}
	config.ClaimMinIdle = time.Hour // nothing is found by its idle time
	config.ClaimInterval = 20 * time.Millisecond
	seen := make(map[string]int)
	progress := time.Now() // when a message came last
	for closes := 0; len(seen) < total; closes++ {
		require.Less(b, time.Since(progress), soon, "%d of %d after %d closes", len(seen), total, closes)
		subscriber, messages := b.subscribe(config)
		for range closes % 50 {
			select {
			case msg := <-messages:
				seen[string(msg.Payload)]++
				progress = time.Now()
				msg.Ack()
			case <-time.After(50 * time.Millisecond):
			}
		}
		require.NoError(b, subscriber.Close())
	}
	publisher.Wait()
	for payload, n := range seen {
		require.Equal(b, 1, n, payload)
	}
	assert.Zero(b, b.pending())
}

// A context that ends while a read is blocked takes no entry with it.
func TestSubscribe_contextEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.ClaimMinIdle = time.Hour
	subscriber := b.subscriber(config)
	ctx, cancel := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(ctx, b.topic)
	require.NoError(t, err)
	cancel()
	_, open := <-messages
	require.False(t, open)
	b.publish(10)
	again, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	assert.Equal(t, upTo(10), receiveAll(t, again, 10))
}
