package redisstream

import (
	"context"
	"crypto/rand"
	"net"
	"testing"

	"github.com/millrace/redisstream/internal/busypoll"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A pipeline that waits for a connection loses one of its calls; the others go at once in another.
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
				call := &publishCall{ctx: t.Context(), bytes: 1, done: make(chan struct{}), cancelled: make(chan struct{})}
				call.requests = []stream.AddRequest{{Fields: []any{"number", string(rune('0' + i))}}}
				calls = append(calls, call)
				queue, _ = queues.enter(topic, call)
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
				assert.False(t, queue.withdraw(call), "it is published")
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
