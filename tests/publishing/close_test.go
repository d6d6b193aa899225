package publishing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
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

func TestPublisher_Close(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	require.NoError(t, err)
	other := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("before", 1)...))
	require.NoError(t, publisher.Close())
	require.NoError(t, publisher.Close(), "second call")

	messages := fixture.Numbered("after", 2)
	err = publisher.Publish(topic, messages...)
	require.ErrorIs(t, err, redisstream.ErrPublisherClosed)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	assert.Equal(t, []string{"before-0"}, fixture.StoredUUIDs(t, client, topic), "Close does not close the client")
	require.NoError(t, other.Publish(topic, fixture.Numbered("other", 1)...), "other publishers still use the client")
}

func TestPublisher_CloseWaitsForCallsUnderWay(t *testing.T) {
	t.Parallel()
	g := openGated(t, nil)
	result := g.publish("m", 2)
	redistest.Within(t, "the round trip", g.entered)
	closed := make(chan int64, 2)
	for range 2 { // both calls wait
		go func() {
			assert.NoError(t, g.publisher.Close())
			closed <- g.client.XLen(context.Background(), g.topic).Val()
		}()
	}
	assert.Never(t, func() bool { return len(closed) > 0 }, 50*time.Millisecond, 10*time.Millisecond)
	g.open()
	require.NoError(t, redistest.Within(t, "Publish", result), "Close does not interrupt a call")
	for range 2 {
		assert.EqualValues(t, 2, redistest.Within(t, "Close", closed))
	}
}

// slow is a Marshaler that waits for end.
type slow struct{ begun, end chan struct{} }

func (s slow) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	s.begun <- struct{}{}
	<-s.end
	return redisstream.MsgpackMarshaler{}.Marshal(topic, msg)
}

func TestPublisher_CloseWaitsForCallsThatHaveSentNothingYet(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	marshaler := slow{begun: make(chan struct{}, 1), end: make(chan struct{})}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: marshaler})
	result := fixture.GoPublish(publisher, topic, fixture.Numbered("m", 1)...)
	redistest.Within(t, "the call of the marshaler", marshaler.begun)
	closed := make(chan error, 1)
	go func() { closed <- publisher.Close() }()
	assert.Never(t, func() bool { return len(closed) > 0 }, 50*time.Millisecond, 10*time.Millisecond)
	close(marshaler.end)
	require.NoError(t, redistest.Within(t, "Close", closed))
	require.NoError(t, redistest.Within(t, "Publish", result))
	assert.Equal(t, []string{"m-0"}, fixture.StoredUUIDs(t, client, topic))
}

func TestPublisher_CloseThatWaitsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	g := openGated(t, nil)
	result := g.publish("m", 1)
	redistest.Within(t, "the round trip", g.entered)
	closed := make(chan error, 1)
	go func() { closed <- g.publisher.Close() }()
	late := fixture.NewTopic(t)
	require.Eventually(t, func() bool { // published until Close begins
		return errors.Is(redistest.Within(t, "Publish", fixture.GoPublish(g.publisher, late, fixture.Numbered("late", 1)...)), redisstream.ErrPublisherClosed)
	}, fixture.Soon, time.Millisecond)
	g.open()
	require.NoError(t, redistest.Within(t, "Publish", result))
	require.NoError(t, redistest.Within(t, "Close", closed))
}

func TestPublisher_CloseEndsTheWaitForAServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t, func(o *redis.Options) { o.DialerRetries, o.MaxRetries = 1, -1 })
	tries := make(chan struct{}, 100)
	client.AddHook(fixture.BeforeXAdd(func(context.Context, []redis.Cmder) { tries <- struct{}{} }))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	messages := fixture.Numbered("patient", 2)
	messages[0].SetContext(ctx)
	result := fixture.GoPublish(publisher, fixture.NewTopic(t), messages...)
	for range 2 {
		redistest.Within(t, "another try", tries)
	}
	closed := make(chan error, 1)
	go func() { closed <- publisher.Close() }()
	require.NoError(t, redistest.Within(t, "Close", closed))
	err := redistest.Within(t, "Publish", result)
	require.ErrorIs(t, err, redisstream.ErrPublisherClosed)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "the error has its cause")
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
}

func TestPublisher_CloseWhileOthersPublish(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for range 20 {
		topic := fixture.NewTopic(t)
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
		require.NoError(t, err)
		var all sync.WaitGroup
		var published atomic.Int64
		started := make(chan struct{}, 100)
		for caller := range 4 {
			all.Go(func() {
				for i := 0; ; i++ {
					err := publisher.Publish(topic, fixture.Numbered(fmt.Sprintf("%d-%d", caller, i), 1)...)
					if err != nil {
						assert.ErrorIs(t, err, redisstream.ErrPublisherClosed)
						return
					}
					published.Add(1)
					select {
					case started <- struct{}{}:
					default:
					}
				}
			})
		}
		redistest.Within(t, "a message", started)
		require.NoError(t, publisher.Close())
		atClose := client.XLen(t.Context(), topic).Val()
		all.Wait()
		assert.Equal(t, published.Load(), client.XLen(t.Context(), topic).Val(), "each nil stands for an entry")
		assert.Equal(t, atClose, client.XLen(t.Context(), topic).Val(), "nothing is sent after Close")
	}
}
