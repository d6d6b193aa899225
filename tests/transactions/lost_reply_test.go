package transactions

import (
	"bytes"
	"context"
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

// behindProxy returns a Bench, and a configuration whose client is behind a proxy. go-redis does
// not repeat commands: only Commit does.
func behindProxy(t *testing.T) (*fixture.Bench, *redistest.Proxy, redisstream.SubscriberConfig) {
	t.Helper()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := fixture.FastClaimConfig()
	config.ClaimMinIdle, config.ClaimInterval = time.Minute, time.Minute // nothing renews leases meanwhile
	config.Client = b.Server.Client(t, func(o *redis.Options) {
		o.Addr, o.MaxRetries, o.ReadTimeout = proxy.Addr, -1, time.Second
	})
	return b, proxy, config
}

// loadScript commits a first message. Else the first reply of a server is that it lacks the script.
func loadScript(b *fixture.Bench, messages <-chan *message.Message) {
	b.Helper()
	b.Publish(1)
	msg := fixture.Receive(b, messages)
	require.NoError(b, redisstream.Commit(msg.Context(), count(b)))
	msg.Ack()
}

// cutCommit cuts the connection of a Commit, up to the given number of times: before the server has
// the script, or when its reply comes. It returns the count of cuts.
func cutCommit(proxy *redistest.Proxy, beforeServer bool, times int64) *atomic.Int64 {
	if !beforeServer {
		return cutReply(proxy, "incr", times)
	}
	var cuts atomic.Int64
	proxy.OnSend(func(chunk []byte) (int, bool) {
		if !has(chunk, "incr") || cuts.Load() >= times {
			return len(chunk), false
		}
		cuts.Add(1)
		return len(chunk) / 2, true
	})
	return &cuts
}

// has reports whether a word of a command is in the chunk.
func has(chunk []byte, word string) bool {
	return bytes.Contains(bytes.ToLower(chunk), []byte("\r\n"+word+"\r\n"))
}

// cutReply cuts the replies to requests with this word.
func cutReply(proxy *redistest.Proxy, word string, times int64) *atomic.Int64 {
	var cuts atomic.Int64
	var sent atomic.Bool
	proxy.OnSend(func(chunk []byte) (int, bool) {
		if has(chunk, word) && cuts.Load() < times {
			sent.Store(true)
		}
		return len(chunk), false
	})
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if sent.CompareAndSwap(true, false) {
			cuts.Add(1)
			return 0, true
		}
		return len(chunk), false
	})
	return &cuts
}

// A Commit whose reply is lost is sent again. While the lease lasts it is clear that the first one
// was made.
func TestCommit_lostReply(t *testing.T) {
	t.Parallel()
	for name, beforeServer := range map[string]bool{"request": true, "reply": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, proxy, config := behindProxy(t)
			_, messages := b.Subscribe(config)
			for i := range 3 {
				b.Publish(1)
				msg := fixture.Receive(t, messages)
				cuts := cutCommit(proxy, beforeServer, 2)
				require.NoError(t, redisstream.Commit(msg.Context(), count(b)))
				assert.GreaterOrEqual(t, cuts.Load(), int64(1))
				hasEffects(b, int64(i)+1)
				msg.Ack()
			}
			assert.Zero(t, b.Pending())
		})
	}
}

// The request is lost, and then the group: nothing is pending any more, so it seems that the Commit
// was made. The group is recreated, and another consumer gets the entry. What the first one does
// with its message must not end it for the other.
func TestCommit_groupVanishesAfterALostRequest(t *testing.T) {
	t.Parallel()
	b, proxy, config := behindProxy(t)
	subscriber, messages := b.Subscribe(config)
	loadScript(b, messages)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	var isLost atomic.Bool
	proxy.OnSend(func(chunk []byte) (int, bool) {
		switch {
		case has(chunk, "incr") && isLost.CompareAndSwap(false, true):
			b.Do("XGROUP", "DESTROY", b.Topic, "g")
			return len(chunk) / 2, true
		case isLost.Load() && (bytes.Contains(chunk, []byte("~RECREATED")) || has(chunk, "xreadgroup")):
			return 0, true // only the other one recreates the group and reads
		default:
			return len(chunk), false
		}
	})
	require.NoError(t, redisstream.Commit(msg.Context(), count(b)))
	hasEffects(b, 1)

	other := fixture.GroupConfig()
	other.StartID = "0"
	_, others := b.Subscribe(other)
	fixture.Receive(t, others).Ack() // the message of loadScript
	again := fixture.Receive(t, others)
	assert.Equal(t, fixture.EntryOf(t, msg).ID, fixture.EntryOf(t, again).ID)
	msg.Ack()
	require.NoError(t, subscriber.Close(), "what it has to send is sent")
	require.NoError(t, redisstream.Commit(again.Context(), count(b)))
	hasEffects(b, 2)
	again.Ack()
}

// No reply ever comes. The handler hears that the outcome is uncertain, and what it does then is
// right in both cases.
func TestCommit_uncertain(t *testing.T) {
	t.Parallel()
	for name, beforeServer := range map[string]bool{"not made": true, "made": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, proxy, config := behindProxy(t)
			config.NackBackoff = func(int) time.Duration { return 0 }
			_, messages := b.Subscribe(config)
			loadScript(b, messages)
			b.Publish(1)
			msg := fixture.Receive(t, messages)
			cutCommit(proxy, beforeServer, 1<<60)
			ctx, cancel := context.WithTimeout(msg.Context(), 300*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, redisstream.Commit(ctx, count(b)), redisstream.ErrCommitUncertain)
			proxy.OnSend(nil)
			proxy.OnReply(nil)
			msg.Nack()
			if !beforeServer {
				hasEffects(b, 2)
				fixture.NothingComes(t, messages, 300*time.Millisecond)
				return
			}
			hasEffects(b, 1)
			msg = fixture.Receive(t, messages)
			require.NoError(t, redisstream.Commit(msg.Context(), count(b)))
			msg.Ack()
			hasEffects(b, 2)
			assert.Zero(t, b.Pending())
		})
	}
}

// The reply was lost, and the lease was over when the next one came: another consumer may have
// handled the message. It is settled, whoever did it.
func TestCommit_lostReplyAfterTheLease(t *testing.T) {
	t.Parallel()
	b, proxy, config := behindProxy(t)
	config.ClaimMinIdle, config.ClaimInterval = time.Second, -1
	var log redistest.Log
	messages := b.SubscribeLogged(config, &log)
	loadScript(b, messages)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	var sent atomic.Bool
	proxy.OnSend(func(chunk []byte) (int, bool) {
		if has(chunk, "incr") {
			sent.Store(true)
		}
		return len(chunk), false
	})
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if !sent.Load() {
			return len(chunk), false
		}
		proxy.OnSend(nil)
		proxy.OnReply(nil)
		proxy.Hang() // until the lease is over
		time.AfterFunc(1500*time.Millisecond, proxy.Resume)
		return 0, true
	})
	err := redisstream.Commit(msg.Context(), count(b))
	require.ErrorIs(t, err, redisstream.ErrCommitUncertain)
	require.ErrorContains(t, err, "it is not redelivered")
	msg.Nack()
	fixture.NothingComes(t, messages, 300*time.Millisecond)
	hasEffects(b, 2)
	assert.Zero(t, b.Pending())
	assert.Zero(t, log.Count("lost while they were held"), log.Lines())
}
