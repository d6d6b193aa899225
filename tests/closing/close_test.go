package closing

import (
	"context"
	"fmt"
	"strings"
	"sync"
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

// quick bounds a Close that waits for nothing. It holds on a busy machine with the race detector;
// benchmarks/ checks the bound of 100 ms.
const quick = time.Second

func TestClose_idleSubscription(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber, messages := b.Subscribe(fixture.GroupConfig())
	b.Eventually("the reader waits", func() bool { return blockedReaders(b) == 1 })
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
	_, open := <-messages
	assert.False(t, open)
	_, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.ErrorIs(t, err, redisstream.ErrSubscriberClosed)
	assert.Empty(t, b.Consumers(), "a consumer with a generated name is removed")
}

// blockedReaders returns how many clients are in a blocked read of the stream.
func blockedReaders(b *fixture.Bench) (n int) {
	b.Helper()
	return clientsThat(b, "cmd=xreadgroup")
}

// connections returns how many connections the Bench's client and its subscriptions have.
func connections(b *fixture.Bench) int {
	b.Helper()
	return clientsThat(b, "")
}

func clientsThat(b *fixture.Bench, what string) (n int) {
	b.Helper()
	list, err := b.Client.Do(context.Background(), "client", "list").Text()
	require.NoError(b, err)
	for line := range strings.Lines(list) {
		if strings.Contains(line, what) && strings.Contains(line, "name="+b.Topic) {
			n++
		}
	}
	return n
}

func TestClose_manySubscriptions(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber := b.Subscriber(fixture.GroupConfig())
	for i := range 50 {
		_, err := subscriber.Subscribe(t.Context(), fmt.Sprint(b.Topic, i))
		require.NoError(t, err)
	}
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), quick)
}

func TestClose_endsNackBackoff(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		b := fixture.New(t)
		config := fixture.GroupConfig()
		config.MaxInFlight = workers
		config.NackBackoff = func(int) time.Duration { return time.Hour }
		subscriber, messages := b.Subscribe(config)
		b.Publish(1)
		fixture.Receive(t, messages).Nack()
		fixture.NothingComes(t, messages, 10*time.Millisecond)
		began := time.Now()
		require.NoError(t, subscriber.Close())
		assert.Less(t, time.Since(began), quick)
		_, next := b.Subscribe(fixture.GroupConfig())
		assert.EqualValues(t, 2, fixture.EntryOf(t, fixture.Receive(t, next)).Deliveries)
	}
}

// An ack during Close is sent, even if the context of Subscribe ended first.
func TestClose_ackUnderWayCounts(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"close", "context"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.GroupConfig()
			config.MaxInFlight = 4
			config.CloseTimeout = fixture.Soon
			subscriber := b.Subscriber(config)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			output, err := subscriber.Subscribe(ctx, b.Topic)
			require.NoError(t, err)
			b.Publish(20)
			var running []*message.Message
			for range 4 {
				running = append(running, fixture.Receive(t, output))
			}
			before := connections(b)
			closed := make(chan struct{})
			if end == "context" {
				cancel()
			}
			go func() {
				defer close(closed)
				assert.NoError(t, subscriber.Close())
			}()
			b.Eventually("Close has begun", func() bool { return connections(b) < before })
			fixture.NothingComes(t, output, 5*time.Millisecond)
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
			fixture.WaitDone(t, closed, "Close returns")
			_, rest := b.Subscribe(fixture.GroupConfig())
			payloads := fixture.ReceiveAll(t, rest, 17)
			for _, msg := range running[:3] {
				assert.NotContains(t, payloads, string(msg.Payload))
			}
		})
	}
}

// Subscriber A closes with a read-ahead backlog. B gets it at once, although ClaimMinIdle is an
// hour. Entries that no handler of A got are not counted as delivered.
func TestClose_releasesUnhandledMessages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.ClaimMinIdle = time.Hour
	subscriber, messages := b.Subscribe(config)
	b.Publish(2000)
	fixture.ReceiveAll(t, messages, 1000)
	b.Eventually("a backlog is read ahead", func() bool { return b.Pending() > 100 })
	require.NoError(t, subscriber.Close())
	began := time.Now()
	_, next := b.Subscribe(config)
	for i := 1000; i < 2000; i++ {
		msg := fixture.Receive(t, next)
		require.Equal(t, fmt.Sprint(i), string(msg.Payload), "in order")
		require.EqualValues(t, 1, fixture.EntryOf(t, msg).Deliveries)
		msg.Ack()
	}
	assert.Less(t, time.Since(began), 2*time.Second)
}

// Close loses no entries that the server hands out at that moment.
func TestClose_losesNothingThatIsJustComing(t *testing.T) {
	t.Parallel()
	closeLosesNothing(fixture.New(t), 3000)
}

func closeLosesNothing(b *fixture.Bench, total int) {
	b.Helper()
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := range total {
			assert.NoError(b, b.Client.XAdd(b.Context(), &redis.XAddArgs{
				Stream: b.Topic, Values: []string{"data", fmt.Sprint(i)},
			}).Err())
		}
	})
	config := fixture.GroupConfig()
	config.Unmarshaler = redisstream.PlainMarshaler{}
	config.ClaimMinIdle = time.Hour // idle entries are never claimed
	config.ClaimInterval = 20 * time.Millisecond
	seen := make(map[string]int)
	progress := time.Now() // when the last message came
	for closes := 0; len(seen) < total; closes++ {
		require.Less(b, time.Since(progress), fixture.Soon, "%d of %d after %d closes", len(seen), total, closes)
		subscriber, messages := b.Subscribe(config)
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
	assert.Zero(b, b.Pending())
}

// When the context of Subscribe ends during a blocked read, no entry is lost.
func TestClose_contextOfSubscribeEnds(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.ClaimMinIdle = time.Hour
	subscriber := b.Subscriber(config)
	ctx, cancel := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(ctx, b.Topic)
	require.NoError(t, err)
	cancel()
	_, open := <-messages
	require.False(t, open)
	b.Publish(10)
	again, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	assert.Equal(t, fixture.Payloads(10), fixture.ReceiveAll(t, again, 10))
}

// Close during a Subscribe that waits for the server: Subscribe fails and releases its consumer's
// name.
func TestClose_overtakesSubscribe(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := fixture.GroupConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	config.Consumer = "fixed" // releasing a fixed name takes the Subscriber's lock
	subscriber := b.Subscriber(config)
	require.NoError(t, config.Client.Ping(t.Context()).Err())
	asked, closed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	proxy.OnReply(func(chunk []byte) (int, bool) {
		once.Do(func() { close(asked) })
		<-closed
		return len(chunk), false
	})
	result := make(chan error, 1)
	go func() {
		_, err := subscriber.Subscribe(t.Context(), b.Topic)
		result <- err
	}()
	redistest.Within(t, "a command of Subscribe", asked)
	require.NoError(t, subscriber.Close())
	close(closed)
	require.ErrorIs(t, redistest.Within(t, "Subscribe", result), redisstream.ErrSubscriberClosed)
	again := make(chan error, 1)
	go func() { again <- subscriber.Close() }()
	require.NoError(t, redistest.Within(t, "Close", again))
}
