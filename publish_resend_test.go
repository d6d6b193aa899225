package redisstream

import (
	"context"
	"crypto/rand"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cutOff returns an Idempotent Publisher that gives up after a short time, and a proxy that loses all
// replies to messages.
func cutOff(t *testing.T, within time.Duration, change ...func(*redis.Options)) (*Publisher, *redistest.Proxy, string) {
	t.Helper()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := redistest.Shared().Client(t, append(change, func(o *redis.Options) { o.Addr = proxy.Addr })...)
	publisher, err := NewPublisher(PublisherConfig{Client: client, Idempotent: true}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publisher.Close()) })
	publisher.queues.resendWithin = within
	proxy.OnReply(func(chunk []byte) (int, bool) { return len(chunk), chunk[0] == '$' })
	return publisher, proxy, t.Name() + rand.Text()
}

func TestResend_endsWhenTheServerMayForget(t *testing.T) {
	t.Parallel()
	publisher, proxy, topic := cutOff(t, 300*time.Millisecond)
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if chunk[0] != '$' {
			return len(chunk), false
		}
		go proxy.Close() // the server is gone for good
		return 0, true
	})
	began := time.Now()
	msg := message.NewMessage("m", nil)
	err := publisher.Publish(topic, msg)
	var failure *PublishError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, []*message.Message{msg}, failure.Uncertain)
	require.ErrorIs(t, err, errNoAnswer)
	assert.Greater(t, time.Since(began), 100*time.Millisecond)
	assert.EqualValues(t, 1, redistest.Shared().Client(t).XLen(t.Context(), topic).Val())
}

// The process stops between the pause and the write: dialling takes longer than the limit.
func TestResend_isNotWrittenTooLate(t *testing.T) {
	t.Parallel()
	const within = 3 * time.Second // on a busy machine the first attempt takes long
	var dials atomic.Int64
	publisher, proxy, topic := cutOff(t, within, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, target string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				time.Sleep(within) // the limit began before
			}
			return new(net.Dialer).DialContext(ctx, network, target)
		}
	})
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if chunk[0] != '$' {
			return len(chunk), false
		}
		return 0, true
	})
	client := redistest.Shared().Client(t)
	commands := func() int64 { return client.XLen(context.Background(), topic).Val() }
	msg := message.NewMessage("m", nil)
	err := publisher.Publish(topic, msg)
	var failure *PublishError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, []*message.Message{msg}, failure.Uncertain)
	require.ErrorContains(t, err, "too late to be sent again")
	assert.EqualValues(t, 1, commands())
}

// A producer is used again, unless an answer of its pipeline was lost.
func TestResend_producers(t *testing.T) {
	t.Parallel()
	publisher, proxy, topic := cutOff(t, time.Minute)
	proxy.OnReply(nil)
	producer := func() any {
		require.NoError(t, publisher.Publish(topic, message.NewMessage("m", nil)))
		queue := publisher.queues.queues[topic]
		if len(queue.producers) == 0 {
			return nil
		}
		return queue.producers[0]
	}
	first := producer()
	require.NotNil(t, first)
	assert.Same(t, first, producer())
	var lost atomic.Bool
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if chunk[0] == '$' && lost.CompareAndSwap(false, true) {
			return 0, true
		}
		return len(chunk), false
	})
	assert.Nil(t, producer())
	assert.NotSame(t, first, producer())
}
