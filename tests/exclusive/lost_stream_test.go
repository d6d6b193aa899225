package exclusive

import (
	"bytes"
	"context"
	"fmt"
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

// throughProxy gives a member a client of its own, whose connections can be disturbed.
func throughProxy(b *fixture.Bench) (*redistest.Proxy, func(*redisstream.SubscriberConfig)) {
	b.Helper()
	proxy := redistest.NewProxy(b, b.Server.Addr, 0)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr, ReadTimeout: 200 * time.Millisecond, MaxRetries: -1})
	b.Cleanup(func() { _ = client.Close() })
	return proxy, func(c *redisstream.SubscriberConfig) { c.Client = client }
}

// The active consumer has no connection. The context of its message ends with the lease at the
// latest, another consumer goes on, and what the old handler decides later counts nothing.
func TestExclusive_noConnection(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(*fixture.Bench, *message.Message){
		"ack":  func(_ *fixture.Bench, msg *message.Message) { msg.Ack() },
		"nack": func(_ *fixture.Bench, msg *message.Message) { msg.Nack() },
		"commit": func(b *fixture.Bench, msg *message.Message) {
			err := redisstream.Commit(context.WithoutCancel(msg.Context()), func(tx redis.Pipeliner) error {
				return tx.Incr(context.Background(), redisstream.DelayedKey(b.Topic)+":effect").Err()
			})
			require.ErrorIs(b, err, redisstream.ErrNotHeld)
			assert.Zero(b, b.Client.Exists(b.Context(), redisstream.DelayedKey(b.Topic)+":effect").Val())
			msg.Ack()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			proxy, through := throughProxy(b)
			first := join(b, through)
			consumer, generation := active(b, "")
			second := join(b, nil)
			publish(b, 0, 3)
			running := fixture.Receive(t, first.messages)
			proxy.Hang()
			began := time.Now()
			redistest.Within(t, "the context of the message ends", running.Context().Done())
			ended := time.Since(began)
			assert.LessOrEqual(t, ended, exclusiveConfig().ClaimMinIdle+200*time.Millisecond)

			msg := fixture.Receive(t, second.messages)
			assert.Equal(t, "0", string(msg.Payload))
			entry := entryOf(t, msg)
			assert.Greater(t, entry.Generation, generation)
			assert.EqualValues(t, 2, entry.Deliveries)
			proxy.Resume()
			settle(b, running)
			fixture.NothingComes(b, first.messages, 100*time.Millisecond)
			assert.EqualValues(t, 1, b.Client.XPendingExt(t.Context(), &redis.XPendingExtArgs{
				Stream: b.Topic, Group: "g", Start: entry.ID, End: entry.ID, Count: 1,
			}).Val()[0].RetryCount-1, "still that of the new owner")
			require.True(t, msg.Ack())
			assert.Equal(t, payloads(1, 2), fixture.ReceiveAll(t, second.messages, 2))
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			now, _ := active(b, consumer)
			assert.NotEqual(t, consumer, now)
		})
	}
}

// A former owner's read is still blocked on the server, which gives it the next entry. The new owner
// claims the entry before it delivers a later one.
func TestExclusive_readOfAFormerOwner(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy, through := throughProxy(b)
	first := join(b, through)
	consumer, _ := active(b, "")
	second := join(b, nil)
	publish(b, 0, 1)
	require.True(t, fixture.Receive(t, first.messages).Ack())
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	proxy.Hang() // as if the process was stopped: the server keeps its connections
	active(b, consumer)
	reader := b.Server.Client(t)
	for n := 1; n <= 50; n += 2 { // each time the server gives the former owner the next entry
		ctx, cancel := context.WithTimeout(t.Context(), fixture.Soon)
		read := make(chan error, 1)
		go func() {
			read <- reader.XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: "g", Consumer: consumer, Streams: []string{b.Topic, ">"}, Block: fixture.Soon, Count: 1,
			}).Err()
		}()
		more := 0
		for served := false; !served; {
			publish(b, n+more, 1)
			more++
			select {
			case err := <-read:
				require.NoError(t, err)
				served = true
			case <-time.After(5 * time.Millisecond): // the new owner was first
			}
		}
		publish(b, n+more, 1)
		assert.Equal(t, payloads(n, more+1), fixture.ReceiveAll(t, second.messages, more+1))
		n += more - 1
		cancel()
	}
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}

// The hash with the owner is gone. Somebody becomes the owner again, and nothing is lost.
func TestExclusive_ownerKeyIsGone(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	members := []member{join(b, nil), join(b, nil)}
	_, generation := active(b, "")
	publish(b, 0, 10)
	running := receiveFromAny(b, members)
	require.NoError(t, b.Client.Del(t.Context(), redisstream.OwnerKey(b.Topic, "g")).Err())
	redistest.Within(t, "the context of the message ends", running.Context().Done())
	require.True(t, running.Ack())
	for n := range 10 {
		msg := receiveFromAny(b, members)
		assert.Equal(t, fmt.Sprint(n), string(msg.Payload))
		assert.Greater(t, entryOf(t, msg).Generation, generation)
		require.True(t, msg.Ack())
	}
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}

func receiveFromAny(b *fixture.Bench, members []member) *message.Message {
	b.Helper()
	select {
	case msg := <-members[0].messages:
		return msg
	case msg := <-members[1].messages:
		return msg
	case <-time.After(fixture.Soon):
		require.FailNow(b, "no message")
		return nil
	}
}

// The replies to the scripts that begin, renew and end an ownership are lost. All messages are
// delivered in order.
func TestExclusive_lostReplies(t *testing.T) {
	t.Parallel()
	for _, generationInReply := range []bool{true, false} {
		t.Run(fmt.Sprint("acquire ", generationInReply), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			proxy, through := throughProxy(b)
			lose := 3
			proxy.OnReply(func(chunk []byte) (int, bool) {
				if owns := bytes.Contains(chunk, []byte("~")); lose > 0 && owns == generationInReply && !bytes.Contains(chunk, []byte("NOSCRIPT")) {
					lose--
					return 0, true
				}
				return len(chunk), false
			})
			publish(b, 0, 20)
			subscriber := b.Subscriber(func() redisstream.SubscriberConfig {
				config := exclusiveConfig()
				through(&config)
				return config
			}())
			var messages <-chan *message.Message
			b.Eventually("subscribed", func() bool {
				var err error
				messages, err = subscriber.Subscribe(b.Context(), b.Topic)
				return err == nil
			})
			assert.Equal(t, payloads(0, 20), fixture.ReceiveAll(t, messages, 20))
			assert.Zero(t, lose)
		})
	}
}

// The server is killed and comes back. The contexts of messages end if that takes longer than the
// lease; afterwards everything goes on in order.
func TestExclusive_serverRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	b := fixture.NewOn(t, server)
	members := []member{join(b, nil), join(b, nil)}
	publish(b, 0, 4)
	running := receiveFromAny(b, members)
	server.Kill()
	redistest.Within(t, "the context of the message ends", running.Context().Done())
	server.Restart(t)
	require.True(t, running.Nack())
	for n := range 4 {
		msg := receiveFromAny(b, members)
		assert.Equal(t, fmt.Sprint(n), string(msg.Payload))
		require.True(t, msg.Ack())
	}
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}
