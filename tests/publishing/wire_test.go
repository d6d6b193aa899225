package publishing

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
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

// held holds back the replies of a proxy from the next XADD on, until release is called.
type held struct {
	sent    chan struct{} // closed when an XADD passes
	release func()
}

func holdReplies(proxy *redistest.Proxy) held {
	sent, released := make(chan struct{}), make(chan struct{})
	seen := sync.OnceFunc(func() { close(sent) })
	proxy.OnSend(func(chunk []byte) (int, bool) {
		if bytes.Contains(bytes.ToLower(chunk), []byte("xadd")) {
			seen()
		}
		return len(chunk), false
	})
	proxy.OnReply(func(chunk []byte) (int, bool) {
		<-released
		return len(chunk), false
	})
	return held{sent, sync.OnceFunc(func() { close(released) })}
}

func TestPublish_contextThatEndsOnTheWireWaitsForTheReply(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			publisher, proxy := throughProxy(t)
			replies := holdReplies(proxy)
			defer replies.release()
			topic := fixture.NewTopic(t)
			ctx, cancel := context.WithCancel(t.Context())
			messages := fixture.Numbered("m", n)
			messages[0].SetContext(ctx)
			result := fixture.GoPublish(publisher, topic, messages...)
			redistest.Within(t, "the XADD", replies.sent)
			cancel()
			assert.Never(t, func() bool { return len(result) > 0 }, 50*time.Millisecond, 10*time.Millisecond)
			replies.release()
			require.NoError(t, redistest.Within(t, "Publish", result), "the message is published, and Publish returns nil")
			assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, redistest.Shared().Client(t), topic))
		})
	}
}

func TestPublish_contextThatEndsOnTheWireWaitsNoLongerThanTheClient(t *testing.T) {
	t.Parallel()
	publisher, proxy := throughProxy(t, func(o *redis.Options) { o.ReadTimeout = 200 * time.Millisecond })
	replies := holdReplies(proxy)
	defer replies.release()
	topic := fixture.NewTopic(t)
	ctx, cancel := context.WithCancel(t.Context())
	messages := fixture.Numbered("m", 2)
	messages[0].SetContext(ctx)
	result := fixture.GoPublish(publisher, topic, messages...)
	redistest.Within(t, "the XADD", replies.sent)
	cancel()
	err := redistest.Within(t, "Publish", result)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Uncertain)
	require.ErrorContains(t, err, "i/o timeout")
	require.NotErrorIs(t, err, context.Canceled, "the context is not the cause")
}

// When the handshake of a connection hangs, nothing of the call has been sent yet.
func TestPublish_contextThatEndsWithoutAConnectionSendsNothing(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string][]byte{"small": nil, "large": make([]byte, 100_000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			dialled := make(chan struct{}, 100)
			client := server.Client(t, func(o *redis.Options) { o.ReadTimeout, o.PoolSize = 10*time.Second, 2 })
			client.AddHook(dialHook(func() { dialled <- struct{}{} }))
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
			topic := fixture.NewTopic(t)
			server.Pause()
			defer server.Resume()

			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			messages := fixture.Numbered("m", 1)
			messages[0].Payload = payload
			messages[0].SetContext(ctx)
			result := fixture.GoPublish(publisher, topic, messages...)
			redistest.Within(t, "a connection", dialled)
			cancel()
			err := redistest.Within(t, "Publish", result)
			assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
			require.ErrorIs(t, err, context.Canceled)

			server.Resume()
			require.NoError(t, publisher.Close())
			assert.Zero(t, server.Client(t).Exists(t.Context(), topic).Val(), "not a byte of it was sent")
		})
	}
}

// dialHook is called when the client has dialled a connection.
type dialHook func()

func (h dialHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		h()
		return conn, err
	}
}

func (dialHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// When a call is withdrawn from a pipeline, the other calls of the pipeline are published.
func TestPublish_contextThatEndsWithoutAConnectionHurtsNoOther(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	dials, opened := make(chan struct{}, 100), make(chan struct{})
	open := sync.OnceFunc(func() { close(opened) })
	defer open()
	client.AddHook(dialHook(func() {
		dials <- struct{}{}
		<-opened
	}))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	t.Cleanup(open)
	topic := fixture.NewTopic(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cancellable := func(name string) (*message.Message, <-chan error) {
		messages := fixture.Numbered(name, 1)
		messages[0].SetContext(ctx)
		return messages[0], fixture.GoPublish(publisher, topic, messages...)
	}
	const pipelines = 2 // may be in flight at the same time
	var others []<-chan error
	for i := range pipelines {
		others = append(others, fixture.GoPublish(publisher, topic, fixture.Numbered(fmt.Sprint("alone-", i), 1)...))
		redistest.Within(t, "a connection", dials)
	}
	message1, result1 := cancellable("cancelled-1")
	for i := range 3 {
		others = append(others, fixture.GoPublish(publisher, topic, fixture.Numbered(fmt.Sprint("beside-", i), 1)...))
	}
	message2, result2 := cancellable("cancelled-2")
	cancel()
	for msg, result := range map[*message.Message]<-chan error{message1: result1, message2: result2} {
		err := redistest.Within(t, "Publish", result)
		assert.Equal(t, []*message.Message{msg}, fixture.AsPublishError(t, err).Failed)
	}
	open()
	for _, result := range others {
		require.NoError(t, redistest.Within(t, "Publish", result))
	}
	assert.ElementsMatch(t, []string{"alone-0-0", "alone-1-0", "beside-0-0", "beside-1-0", "beside-2-0"}, fixture.StoredUUIDs(t, redistest.Shared().Client(t), topic))
}

// Callers may change their buffers after Publish has returned: the stream has the original
// payloads.
func TestPublish_payloadsAreTheCallersAfterwards(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, time.Millisecond)
	client := redistest.Shared().Client(t, func(o *redis.Options) {
		o.Addr, o.ReadTimeout = proxy.Addr, 50*time.Millisecond
	})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := fixture.NewTopic(t)
	require.Eventually(t, func() bool { return publisher.Publish(topic, message.NewMessage("warm", []byte("warm "))) == nil }, fixture.Soon, time.Millisecond)
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			buffer := make([]byte, 2000)
			for i := range 100 {
				uuid := fmt.Sprintf("%d-%d", caller, i)
				copy(buffer, strings.Repeat(uuid+" ", 500))
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(20*time.Millisecond))
				msg := message.NewMessage(uuid, buffer)
				msg.SetContext(ctx)
				_ = publisher.Publish(topic, msg)
				cancel()
				clear(buffer)
			}
		})
	}
	all.Wait()
	entries, err := redistest.Shared().Client(t).XRange(t.Context(), topic, "-", "+").Result()
	require.NoError(t, err)
	assert.Greater(t, len(entries), 1)
	for _, entry := range entries {
		msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(entry.ID, entry.Values)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(msg.Payload), msg.UUID+" "), "the payload of %s is another's", msg.UUID)
	}
}
