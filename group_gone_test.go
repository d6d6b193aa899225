package redisstream_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoTurns waits until the subscriptions of the test's stream have looked at their group twice more.
func (b *bench) twoTurns() {
	b.Helper()
	calls := func() int64 {
		info, err := b.client.Info(b.Context(), "commandstats").Result()
		require.NoError(b, err)
		var calls int64
		for line := range strings.SplitSeq(info, "\r\n") {
			if _, err := fmt.Sscanf(line, "cmdstat_xinfo|groups:calls=%d,", &calls); err == nil {
				return calls
			}
		}
		return 0
	}
	before := calls()
	b.eventually("turns", func() bool { return calls() >= before+2 })
}

// sequence makes a number of an entry's ID, in the stream's order.
func sequence(t *testing.T, id string) int64 {
	t.Helper()
	var ms, n int64
	_, err := fmt.Sscanf(id, "%d-%d", &ms, &n)
	require.NoError(t, err)
	return ms*1000 + n
}

// A group that vanishes is created again where it was: what was pending is pending again, what was acknowledged does
// not come again, and what is published after is delivered.
func TestGroupGone_destroyed(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"idle", "busy"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, redistest.Start(t))
			config := fastClaims()
			config.MaxInFlight = 2
			_, messages := b.subscribe(config)
			b.publish(100)
			receiveAll(t, messages, 90)
			held := receive(t, messages)
			if state == "idle" {
				receiveAll(t, messages, 9)
			}
			b.eventually("acknowledged", func() bool { return b.pending() <= 10 })
			b.twoTurns()
			summary, err := b.client.XPending(t.Context(), b.topic, "g").Result()
			require.NoError(t, err)
			oldest := sequence(t, summary.Lower)
			require.NoError(t, b.client.XGroupDestroy(t.Context(), b.topic, "g").Err())
			began := time.Now()
			b.publish(1) // payload 0
			seen := map[string]bool{}
			for !seen["0"] {
				msg := receive(t, messages)
				seen[string(msg.Payload)] = true
				assert.GreaterOrEqual(t, sequence(t, entryOf(t, msg).ID), oldest, "what is older was acknowledged long ago")
				msg.Ack()
			}
			assert.Less(t, time.Since(began), 2*time.Second)
			assert.False(t, seen[string(held.Payload)], "its handler has it still")
			held.Ack()
			b.eventually("acknowledged", func() bool { return b.pending() == 0 })
			groups, err := b.client.XInfoGroups(t.Context(), b.topic).Result()
			require.NoError(t, err)
			assert.Zero(t, groups[0].Lag, "all was handed out")
		})
	}
}

// A stream that vanishes begins anew, and so does the group: whatever the IDs of the new entries are.
func TestGroupGone_streamDeleted(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(b *bench) error{
		"del":      func(b *bench) error { return b.client.Del(b.Context(), b.topic).Err() },
		"flushall": func(b *bench) error { return b.client.FlushAll(b.Context()).Err() },
	} {
		for _, id := range []string{"*", "1-1"} {
			t.Run(name+id, func(t *testing.T) {
				t.Parallel()
				b := newBenchOn(t, redistest.Start(t))
				config := fastClaims()
				config.Unmarshaler = redisstream.PlainMarshaler{}
				_, messages := b.subscribe(config)
				for i := range 20 {
					require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []any{"data", i}}).Err())
				}
				receiveAll(t, messages, 20)
				b.twoTurns()
				require.NoError(t, remove(b))
				began := time.Now()
				require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, ID: id, Values: []any{"data", "new"}}).Err())
				assert.Equal(t, []string{"new"}, receiveAll(t, messages, 1))
				assert.Less(t, time.Since(began), 2*time.Second)
			})
		}
	}
}

// With NOACK there is no pending list: delivery goes on behind what was read last.
func TestGroupGone_autoAck(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.AutoAck = true
	_, messages := b.subscribe(config)
	b.publish(20)
	receiveAll(t, messages, 20)
	require.NoError(t, b.client.XGroupDestroy(t.Context(), b.topic, "g").Err())
	b.publish(3)
	assert.Equal(t, upTo(3), receiveAll(t, messages, 3))
}

// The marks of several consumers: whichever creates the group again, nothing unacknowledged is lost.
func TestGroupGone_severalConsumers(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string, 100_000)
	for range 4 {
		_, messages := b.subscribe(fastClaims())
		go func() {
			for msg := range messages {
				seen <- string(msg.Payload)
				msg.Ack()
			}
		}()
	}
	go func() {
		for ctx.Err() == nil {
			b.client.XGroupDestroy(ctx, b.topic, "g")
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	b.publish(5000)
	missing := map[string]bool{}
	for _, payload := range upTo(5000) {
		missing[payload] = true
	}
	progress := time.NewTimer(soon)
	for len(missing) > 0 {
		select {
		case payload := <-seen:
			if missing[payload] {
				progress.Reset(soon)
			}
			delete(missing, payload)
		case <-progress.C:
			require.Failf(t, "lost", "%d messages", len(missing))
		}
	}
}

// A newcomer creates the group before those who were in it notice that it vanished: they set it to where it was, so that
// nothing is lost, and what was acknowledged does not come again.
func TestGroupGone_newcomerIsFaster(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "$"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, redistest.Start(t))
			proxy := redistest.NewProxy(t, b.server.Addr, 0)
			config := fastClaims()
			config.Client = b.server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
			config.ClaimMinIdle, config.MaxInFlight = time.Minute, 2
			_, messages := b.subscribe(config)
			b.publish(100)
			receiveAll(t, messages, 90)
			held := receive(t, messages)
			b.eventually("acknowledged", func() bool { return b.pending() <= 10 })
			b.twoTurns()

			noticed, created := make(chan struct{}), make(chan struct{})
			var once sync.Once
			proxy.OnReply(func(chunk []byte) (int, bool) {
				if bytes.Contains(chunk, []byte("NOGROUP")) {
					once.Do(func() { close(noticed); <-created })
				}
				return len(chunk), false
			})
			b.do("XGROUP", "DESTROY", b.topic, "g")
			waitDone(t, noticed, "the group's end is told")
			newcomer := inGroupG()
			newcomer.StartID, newcomer.ClaimInterval = start, time.Hour
			_, others := b.subscribe(newcomer)
			close(created)
			require.NoError(t, openPublisher(t, redisstream.PublisherConfig{Client: b.client}).Publish(b.topic, numbered("new", 1)...))
			missing := map[string]bool{"new-0": true}
			for _, payload := range upTo(100)[90:] {
				missing[payload] = true
			}
			delete(missing, string(held.Payload))
			for len(missing) > 0 {
				var msg *message.Message
				select {
				case msg = <-messages:
				case msg = <-others:
				case <-time.After(soon):
					require.Failf(t, "lost", "%v", missing)
				}
				delete(missing, string(msg.Payload))
				msg.Ack()
			}
			held.Ack()
		})
	}
}
