package repairing

import (
	"bytes"
	"context"
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

// losingReply returns a client that loses the first reply to a command with the text, unless the
// command is refused, and whether it did.
func losingReply(b *fixture.Bench, text string) (client *redis.Client, lost *atomic.Bool) {
	b.Helper()
	proxy := redistest.NewProxy(b, b.Server.Addr, 0)
	client = redis.NewClient(&redis.Options{Addr: proxy.Addr})
	b.Cleanup(func() { require.NoError(b, client.Close()) })
	var sent atomic.Bool
	lost = &atomic.Bool{}
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
	return client, lost
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
			client, lost := losingReply(b, c.text)
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

// The server has deleted the group when the reply is lost, and the client repeats the command.
func TestDeleteGroup_lostReply(t *testing.T) {
	t.Parallel()
	b := newWithDead(t, "dead")
	client, lost := losingReply(b, "*4\r\n$6\r\nxgroup\r\n$7\r\ndestroy\r\n")
	_, err := adminOf(b, client).DeleteGroup(t.Context(), b.Topic, "g", false)
	require.NoError(t, err)
	assert.True(t, lost.Load())
	assert.Zero(t, b.Client.Exists(t.Context(), redisstream.MembersKey(b.Topic, "g")).Val())
	assert.Empty(t, b.Client.XInfoGroups(t.Context(), b.Topic).Val())
}

// The process ends in the middle. The next one finds the group, and leaves nothing of it.
func TestDeleteGroup_interrupted(t *testing.T) {
	t.Parallel()
	b := newWithDead(t, "dead")
	require.NoError(t, adminOf(b, b.Client).Pause(t.Context(), b.Topic, "g", "me", "test"))
	client := b.Server.Client(t)
	client.AddHook(&endsAfterDeletion{})
	_, err := adminOf(b, client).DeleteGroup(t.Context(), b.Topic, "g", false)
	require.ErrorIs(t, err, context.Canceled)
	_, err = adminOf(b, b.Client).DeleteGroup(t.Context(), b.Topic, "g", false)
	require.NoError(t, err)
	assert.Zero(t, b.Client.Exists(t.Context(), redisstream.MembersKey(b.Topic, "g"), redisstream.PauseKey(b.Topic, "g")).Val())
	assert.Empty(t, b.Client.XInfoGroups(t.Context(), b.Topic).Val())
}

// The server has removed the consumer when the reply is lost, and the client repeats the command.
func TestDropConsumer_lostReply(t *testing.T) {
	t.Parallel()
	b := newWithDead(t, "dead")
	client, lost := losingReply(b, "redisstream~GIVENBACK2")
	_, err := adminOf(b, client).DropConsumer(t.Context(), b.Topic, "g", "dead", false)
	require.NoError(t, err)
	assert.True(t, lost.Load())
	assert.Equal(t, []string{"redisstream~GIVENBACK2"}, b.Consumers())
	assert.EqualValues(t, 1, b.Pending())
}
