package delivery

import (
	"fmt"
	"sync/atomic"
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

// addLarge adds n entries of the given size in bytes.
func addLarge(b *fixture.Bench, n, bytes int) {
	b.Helper()
	fields, err := redisstream.MsgpackMarshaler{}.Marshal(b.Topic, message.NewMessage("large", make([]byte, bytes)))
	require.NoError(b, err)
	for range n {
		require.NoError(b, b.Client.XAdd(b.Context(), &redis.XAddArgs{Stream: b.Topic, Values: fields}).Err())
	}
}

// slowLink returns a client with this ReadTimeout that connects through a proxy.
func slowLink(b *fixture.Bench, readTimeout time.Duration) (*redis.Client, *redistest.Proxy) {
	b.Helper()
	proxy := redistest.NewProxy(b.T, b.Server.Addr, 0)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr, ReadTimeout: readTimeout, WriteTimeout: readTimeout})
	b.Cleanup(func() { _ = client.Close() })
	return client, proxy
}

// Small entries come first, then large ones over a slow link. Not even a few large ones pass within
// the client's ReadTimeout.
func TestLargeEntries_passASlowLink(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*redisstream.SubscriberConfig){
		"group":            func(*redisstream.SubscriberConfig) {},
		"group, 8 workers": func(c *redisstream.SubscriberConfig) { c.MaxInFlight = 8 },
		"fan-out":          func(c *redisstream.SubscriberConfig) { c.ConsumerGroup = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const small, large, size, rate = 3000, 24, 256 << 10, 1_500_000
			b := fixture.New(t)
			client, proxy := slowLink(b, time.Second)
			config := fixture.GroupConfig()
			config.Client, config.StartID = client, "0"
			config.ClaimMinIdle, config.ClaimInterval = 2*time.Second, 200*time.Millisecond
			change(&config)
			b.Publish(small)
			_, messages := b.Subscribe(config)
			fixture.ReceiveAll(t, messages, small)
			proxy.Throttle(rate)
			_, before := proxy.Carried()
			addLarge(b, large, size)
			began := time.Now()
			for range large {
				select {
				case msg := <-messages:
					require.Len(t, msg.Payload, size)
					require.True(t, msg.Ack())
				case <-time.After(2 * fixture.Soon):
					require.FailNow(t, "no progress")
				}
			}
			_, after := proxy.Carried()
			t.Logf("%s, %d KiB carried for %d KiB", time.Since(began).Round(time.Millisecond), (after-before)>>10, large*size>>10)
			assert.Less(t, after-before, int64(4*large*size), "bytes that are carried repeatedly are bounded")
		})
	}
}

// One consumer can't receive a single entry within its ReadTimeout. A healthy consumer gets them
// all.
func TestLargeEntries_healthyMemberGetsWhatASlowOneCannotCarry(t *testing.T) {
	t.Parallel()
	const large, size = 20, 512 << 10
	b := fixture.New(t)
	client, proxy := slowLink(b, 500*time.Millisecond)
	config := fixture.GroupConfig()
	config.StartID = "0"
	config.ClaimMinIdle, config.ClaimInterval = 2*time.Second, 200*time.Millisecond
	slow := config
	slow.Client = client
	b.Publish(500)
	_, fromSlow := b.Subscribe(slow)
	fixture.ReceiveAll(t, fromSlow, 500)
	proxy.Throttle(300_000)
	addLarge(b, large, size)
	b.Eventually("the slow one has pending entries", func() bool { return b.Pending() > 0 })
	_, messages := b.Subscribe(config)
	began := time.Now()
	for done := range large {
		select {
		case msg := <-messages:
			require.True(t, msg.Ack())
		case <-fromSlow:
			require.Fail(t, "the slow one got a message")
		case <-time.After(2 * fixture.Soon):
			require.FailNow(t, "no progress", "%d done", done)
		}
	}
	t.Log(time.Since(began))
	assert.Less(t, time.Since(began), 15*time.Second)
}

// A subscription never asks for replies of hundreds of megabytes: its replies keep roughly to the
// byte budget.
func TestLargeEntries_repliesAreBounded(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"g", ""} {
		t.Run(fmt.Sprintf("group %q", group), func(t *testing.T) {
			t.Parallel()
			const large, size = 48, 4 << 20
			b := fixture.NewOn(t, redistest.Start(t, "--appendonly", "no"))
			client, proxy := slowLink(b, 3*time.Second)
			config := fixture.GroupConfig()
			config.Client, config.StartID, config.ConsumerGroup = client, "0", group
			b.Publish(2000)
			_, messages := b.Subscribe(config)
			fixture.ReceiveAll(t, messages, 2000)
			var burst, most atomic.Int64
			proxy.OnSend(func(chunk []byte) (int, bool) { burst.Store(0); return len(chunk), false })
			proxy.OnReply(func(chunk []byte) (int, bool) {
				if n := burst.Add(int64(len(chunk))); n > most.Load() {
					most.Store(n)
				}
				return len(chunk), false
			})
			addLarge(b, large, size)
			for range large {
				msg := fixture.Receive(t, messages)
				require.Len(t, msg.Payload, size)
				require.True(t, msg.Ack())
			}
			t.Logf("the largest reply has %d MiB", most.Load()>>20)
			assert.Less(t, most.Load(), int64(64<<20))
		})
	}
}
