package redisstream_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Connections are cut again and again: before a request reaches the server, after it did and before its reply, and in the
// middle of the reply. What the server handed out and nobody saw is found at once, without waiting for its idle time, and
// nothing is left pending.
func TestFault_connectionsCutAtAnyPoint(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(p *redistest.Proxy, f redistest.Filter){
		"request": (*redistest.Proxy).OnSend,
		"reply":   (*redistest.Proxy).OnReply,
	} {
		for _, share := range []int{0, 1, 2} { // nothing of the chunk passes, half of it, all of it
			t.Run(name+[]string{" lost", " torn", " passed"}[share], func(t *testing.T) {
				t.Parallel()
				const total = 2000
				b := newBench(t)
				proxy := redistest.NewProxy(t, b.server.Addr, 0)
				behind := b.server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
				config := inGroupG()
				config.Client = behind
				config.ClaimMinIdle = time.Hour // nothing is found by its idle time
				_, messages := b.subscribe(config)
				var chunks atomic.Int64
				cut(proxy, func(chunk []byte) (int, bool) {
					if chunks.Add(1)%25 != 0 || bytes.Contains(chunk, []byte("hello")) {
						return len(chunk), false
					}
					return len(chunk) * share / 2, true
				})
				b.publish(total)
				seen := map[string]int{}
				for len(seen) < total {
					msg := receive(t, messages)
					seen[string(msg.Payload)]++
					msg.Ack()
				}
				cut(proxy, nil)
				b.eventually("nothing stays pending", func() bool { return b.pending() == 0 })
				for payload, n := range seen {
					require.Equal(t, 1, n, "%s: its lease was never lost", payload)
				}
			})
		}
	}
}

// The server dies and comes back with its data: the subscription goes on by itself, with one line in the log when the
// trouble begins and one when it is over.
func TestFault_serverRestarts(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t, redistest.Durable...))
	var log redistest.Log
	config := inGroupG()
	config.Client = b.client
	messages := b.subscribeLogged(config, &log)
	b.publish(100)
	receiveAll(t, messages, 50)
	for round := range 2 {
		b.server.Kill()
		b.eventually("noticed", func() bool { return log.Count("reading from the stream failed") == round+1 })
		b.server.Restart(t)
		b.eventually("resumed", func() bool { return log.Count("reading from the stream works again") == round+1 })
	}
	b.publish(1)
	payloads := receiveAll(t, messages, 51)
	assert.Equal(t, append(upTo(100)[50:], "0"), payloads)
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
	assert.LessOrEqual(t, log.Count("level=ERROR"), 4, "reading, and perhaps acknowledging, each time")
}

// A server that answers nothing is noticed, and Close does not wait for it longer than its time-outs say.
func TestFault_serverHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := newBenchOn(t, server)
	b.client = server.Client(t, func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 500*time.Millisecond, -1 })
	subscriber, messages := b.subscribe(inGroupG())
	b.publish(1)
	msg := receive(t, messages)
	server.Pause()
	defer server.Resume()
	msg.Ack()
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), 10*time.Second)
}
