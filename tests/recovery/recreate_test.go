package recovery

import (
	"bytes"
	"context"
	"fmt"
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

// sequence converts an entry's ID to a number with the same order.
func sequence(t *testing.T, id string) int64 {
	t.Helper()
	var ms, n int64
	_, err := fmt.Sscanf(id, "%d-%d", &ms, &n)
	require.NoError(t, err)
	return ms*1000 + n
}

// A destroyed group is recreated at its checkpoint: pending entries are redelivered, acknowledged
// ones are not, and later ones are delivered.
func TestRecreate_groupDestroyed(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"idle", "busy"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t))
			config := fixture.FastClaimConfig()
			config.MaxInFlight = 2
			_, messages := b.Subscribe(config)
			b.Publish(100)
			fixture.ReceiveAll(t, messages, 90)
			held := fixture.Receive(t, messages)
			if state == "idle" {
				fixture.ReceiveAll(t, messages, 9)
			}
			b.Eventually("acknowledged", func() bool { return b.Pending() <= 10 })
			b.AwaitTwoScans()
			summary, err := b.Client.XPending(t.Context(), b.Topic, "g").Result()
			require.NoError(t, err)
			oldest := sequence(t, summary.Lower)
			require.NoError(t, b.Client.XGroupDestroy(t.Context(), b.Topic, "g").Err())
			began := time.Now()
			b.Publish(1) // payload 0
			seen := map[string]bool{}
			for !seen["0"] {
				msg := fixture.Receive(t, messages)
				seen[string(msg.Payload)] = true
				assert.GreaterOrEqual(t, sequence(t, fixture.EntryOf(t, msg).ID), oldest, "older entries were acknowledged before the checkpoint")
				msg.Ack()
			}
			assert.Less(t, time.Since(began), 2*time.Second)
			assert.False(t, seen[string(held.Payload)], "it is still in flight")
			held.Ack()
			go func() {
				for msg := range messages { // an interrupted read may have got some entries, which are claimed after ClaimMinIdle
					msg.Ack()
				}
			}()
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			groups, err := b.Client.XInfoGroups(t.Context(), b.Topic).Result()
			require.NoError(t, err)
			assert.Zero(t, groups[0].Lag, "all entries were handed out")
		})
	}
}

// When the stream is deleted, the recreated group starts at the first entry of the new stream,
// whatever its ID.
func TestRecreate_streamDeleted(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(b *fixture.Bench) error{
		"del":      func(b *fixture.Bench) error { return b.Client.Del(b.Context(), b.Topic).Err() },
		"flushall": func(b *fixture.Bench) error { return b.Client.FlushAll(b.Context()).Err() },
	} {
		for _, id := range []string{"*", "1-1"} {
			t.Run(name+id, func(t *testing.T) {
				t.Parallel()
				b := fixture.NewOn(t, redistest.Start(t))
				config := fixture.FastClaimConfig()
				config.Unmarshaler = redisstream.PlainMarshaler{}
				_, messages := b.Subscribe(config)
				for i := range 20 {
					require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []any{"data", i}}).Err())
				}
				fixture.ReceiveAll(t, messages, 20)
				b.AwaitTwoScans()
				require.NoError(t, remove(b))
				began := time.Now()
				require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, ID: id, Values: []any{"data", "new"}}).Err())
				assert.Equal(t, []string{"new"}, fixture.ReceiveAll(t, messages, 1))
				assert.Less(t, time.Since(began), 2*time.Second)
			})
		}
	}
}

// With NOACK there are no pending entries: delivery continues after the last entry that was read.
func TestRecreate_autoAck(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.AutoAck = true
	_, messages := b.Subscribe(config)
	b.Publish(20)
	fixture.ReceiveAll(t, messages, 20)
	require.NoError(t, b.Client.XGroupDestroy(t.Context(), b.Topic, "g").Err())
	b.Publish(3)
	assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
}

// Each consumer has its own checkpoint. Whichever of them recreates the group, no unacknowledged
// entry is lost.
func TestRecreate_severalConsumers(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string, 100_000)
	for range 4 {
		_, messages := b.Subscribe(fixture.FastClaimConfig())
		go func() {
			for msg := range messages {
				seen <- string(msg.Payload)
				msg.Ack()
			}
		}()
	}
	moved := make(chan struct{}, 1) // a message was handled for the first time
	go func() {
		for ctx.Err() == nil {
			b.Client.XGroupDestroy(ctx, b.Topic, "g")
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			select {
			case <-moved: // wait for progress: otherwise the group is always destroyed first
			case <-ctx.Done():
			}
		}
	}()
	b.Publish(5000)
	missing := map[string]bool{}
	for _, payload := range fixture.Payloads(5000) {
		missing[payload] = true
	}
	progress := time.NewTimer(fixture.Soon)
	for len(missing) > 0 {
		select {
		case payload := <-seen:
			if missing[payload] {
				progress.Reset(fixture.Soon)
				select {
				case moved <- struct{}{}:
				default:
				}
			}
			delete(missing, payload)
		case <-progress.C:
			require.Failf(t, "lost", "%d messages", len(missing))
		}
	}
}

// A new member creates the group before the old ones notice that it vanished. They set it back to
// their checkpoint. Nothing is lost, and no acknowledged entry comes again.
func TestRecreate_newMemberIsFaster(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "$"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t))
			proxy := redistest.NewProxy(t, b.Server.Addr, 0)
			config := fixture.FastClaimConfig()
			config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
			config.ClaimMinIdle, config.MaxInFlight = time.Minute, 2
			_, messages := b.Subscribe(config)
			b.Publish(100)
			fixture.ReceiveAll(t, messages, 90)
			held := fixture.Receive(t, messages)
			b.Eventually("acknowledged", func() bool { return b.Pending() <= 10 })
			b.AwaitTwoScans()

			noticed, created := make(chan struct{}), make(chan struct{})
			var once sync.Once
			proxy.OnReply(func(chunk []byte) (int, bool) {
				if bytes.Contains(chunk, []byte("NOGROUP")) {
					once.Do(func() { close(noticed); <-created })
				}
				return len(chunk), false
			})
			b.Do("XGROUP", "DESTROY", b.Topic, "g")
			fixture.WaitDone(t, noticed, "the member notices")
			newMember := fixture.GroupConfig()
			newMember.StartID, newMember.ClaimInterval = start, time.Hour
			_, others := b.Subscribe(newMember)
			close(created)
			require.NoError(t, fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client}).Publish(b.Topic, fixture.Numbered("new", 1)...))
			missing := map[string]bool{"new-0": true}
			for _, payload := range fixture.Payloads(100)[90:] {
				missing[payload] = true
			}
			delete(missing, string(held.Payload))
			for len(missing) > 0 {
				var msg *message.Message
				select {
				case msg = <-messages:
				case msg = <-others:
				case <-time.After(fixture.Soon):
					require.Failf(t, "lost", "%v", missing)
				}
				delete(missing, string(msg.Payload))
				msg.Ack()
			}
			held.Ack()
		})
	}
}
