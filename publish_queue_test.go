package redisstream

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/busypoll"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublisher_remembersABoundedNumberOfTopics(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher, err := NewPublisher(PublisherConfig{Client: client}, nil)
	require.NoError(t, err)
	const topics = 3 * maxIdleQueues
	prefix := t.Name() + rand.Text()
	var all sync.WaitGroup
	for worker := range 4 { // all publish to each topic
		all.Go(func() {
			for i := range topics {
				msg := message.NewMessage(fmt.Sprint(worker), nil)
				assert.NoError(t, publisher.Publish(fmt.Sprintf("%s:%d", prefix, i), msg))
			}
		})
	}
	all.Wait()
	require.NoError(t, publisher.Close())
	assert.LessOrEqual(t, len(publisher.queues.queues), maxIdleQueues)
	for i := range topics {
		assert.EqualValues(t, 4, client.XLen(t.Context(), fmt.Sprintf("%s:%d", prefix, i)).Val())
	}
}

// A topic that is in use keeps its queue, however many others were used once.
func TestPublisher_forgetsIdleTopicsFirst(t *testing.T) {
	t.Parallel()
	publisher, err := NewPublisher(PublisherConfig{Client: redistest.Shared().Client(t)}, nil)
	require.NoError(t, err)
	defer publisher.Close()
	prefix := t.Name() + rand.Text()
	for i := range maxIdleQueues {
		require.NoError(t, publisher.Publish(fmt.Sprintf("%s:%d", prefix, i), message.NewMessage("once", nil)))
	}
	var first *publishQueue
	for range 100 {
		require.NoError(t, publisher.Publish(prefix, message.NewMessage("in use", nil)))
		queue := publisher.queues.queues[prefix]
		require.NotNil(t, queue)
		if first == nil {
			first = queue
		}
		require.Same(t, first, queue)
	}
	assert.Len(t, publisher.queues.queues, maxIdleQueues)
}

func TestPublishQueue_pipelinesUnderWay(t *testing.T) {
	t.Parallel()
	q := publishQueue{owner: &publishQueues{poller: new(busypoll.Poller)}}
	assert.Equal(t, 2, q.parallel(), "nothing is known about the server yet")
	q.rtt.Store(int64(time.Millisecond))
	assert.Equal(t, 10, q.parallel())
	q.rtt.Store(int64(time.Second))
	assert.Equal(t, 16, q.parallel())

	q.rtt.Store(int64(pipelineSpacing / 2))
	client := redistest.Shared().Client(t)
	EnableBusyPolling(client)
	q.owner.poller = pollerOf(client)
	require.Eventually(t, func() bool {
		require.NoError(t, client.Ping(t.Context()).Err())
		return q.parallel() == 1
	}, redistest.Soon, 100*time.Microsecond, "one pipeline while the reader busy-polls")
}

// A call is withdrawn from a pipeline that waits for a connection. The other calls are sent at once
// in another pipeline.
func TestPublishQueue_withdrawsOneCallOfAPipeline(t *testing.T) {
	t.Parallel()
	for name, withdrawn := range map[string]int{"the first": 0, "one in between": 1, "the last": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dials, opened := make(chan struct{}, 100), make(chan struct{})
			client := redistest.Shared().Client(t, func(o *redis.Options) {
				o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials <- struct{}{}
					<-opened
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
			})
			queues := publishQueues{adder: stream.NewAdder(client, stream.ReplicaWait{}), timeout: defaultReplyTimeout, poller: new(busypoll.Poller)}
			topic := t.Name() + rand.Text()
			var calls []*publishCall
			var queue *publishQueue
			for i := range 3 {
				call := &publishCall{ctx: t.Context(), bytes: 1, cancelled: make(chan struct{})}
				call.begin()
				call.requests = []*stream.AddRequest{{Fields: stream.NewFieldList("number", string(rune('0'+i)))}}
				calls = append(calls, call)
				queue, _ = queues.enter(topic, topic, call)
			}
			committed := make(chan struct{})
			go func() {
				queue.commit(calls)
				close(committed)
			}()
			redistest.Within(t, "a connection", dials)
			assert.True(t, queue.withdraw(calls[withdrawn]))
			assert.True(t, queue.withdraw(calls[withdrawn]), "twice")
			close(opened)
			redistest.Within(t, "the end", committed)
			var want []string
			for i, call := range calls {
				if i == withdrawn {
					assert.Empty(t, call.requests[0].ID)
					continue
				}
				redistest.Within(t, "the reply", call.done)
				require.NoError(t, call.requests[0].Err)
				want = append(want, string(rune('0'+i)))
				assert.False(t, queue.withdraw(call), "it is published already")
			}
			var got []string
			for _, entry := range client.XRange(t.Context(), topic, "-", "+").Val() {
				got = append(got, entry.Values["number"].(string))
			}
			assert.Equal(t, want, got)
			assert.Zero(t, queues.flows.small.bytes)
		})
	}
}
