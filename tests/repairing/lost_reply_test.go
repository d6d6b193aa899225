package repairing

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// loseReply cuts the connection instead of passing on the first reply to a command with the text, unless
// the command was refused. It reports whether it did.
func loseReply(proxy *redistest.Proxy, text string) *atomic.Bool {
	var sent atomic.Bool
	lost := &atomic.Bool{}
	proxy.OnSend(func(chunk []byte) (int, bool) {
		sent.Store(bytes.Contains(chunk, []byte(text)))
		return len(chunk), false
	})
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if !sent.Load() || bytes.HasPrefix(chunk, []byte("-")) || !lost.CompareAndSwap(false, true) {
			return len(chunk), false
		}
		return 0, true
	})
	return lost
}

// The reply is lost after the server has skipped the message, and the client repeats the command: the
// message is skipped, and has one dead letter.
func TestSkip_lostReply(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		how    admin.Skip
		queued bool
		text   string // of the command whose reply is lost
	}{
		"drop":             {text: "\r\nxack\r\n"},
		"keep":             {how: admin.Skip{DeadLetter: true}, text: redisstream.DeadLetterReasonKey},
		"drop, in a queue": {queued: true, text: "\r\nacknowledge\r\n"},
		"keep, in a queue": {how: admin.Skip{DeadLetter: true}, queued: true, text: redisstream.DeadLetterReasonKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			queue := redisstream.RetryQueueKey(b.Topic, "g")
			if c.queued {
				_, messages := b.Subscribe(fixture.GroupConfig())
				b.Publish(1)
				msg := fixture.Receive(b, messages)
				redisstream.RetryAfter(msg, time.Hour)
				msg.Nack()
				b.Eventually("it waits", func() bool { return b.Client.ZCard(b.Context(), queue).Val() == 1 })
			} else {
				b.Publish(1)
				b.ReadAs("dead", 1)
			}
			proxy := redistest.NewProxy(t, b.Server.Addr, 0)
			client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			lost := loseReply(proxy, c.text)
			outcome, err := adminOf(b, client).Skip(t.Context(), b.Topic, "g", idsOf(b), c.how)
			require.NoError(t, err)
			assert.True(t, lost.Load())
			assert.Equal(t, idsOf(b), outcome.IDs)
			assert.Zero(t, b.Pending())
			assert.Zero(t, b.Client.ZCard(t.Context(), queue).Val())
			letters := 0
			if c.how.DeadLetter {
				letters = 1
			}
			assert.Len(t, b.DeadLetters(), letters)
		})
	}
}
