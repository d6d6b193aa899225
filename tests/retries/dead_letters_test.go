package retries

import (
	"errors"
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

// rejectAll makes dead letters of n messages, which another group has handled. It returns the
// messages of both groups, and the IDs of the entries.
func rejectAll(b *fixture.Bench, n int) (messages, others <-chan *message.Message, ids []string) {
	b.Helper()
	config := shortLease()
	config.ConsumerGroup = "other"
	_, others = b.Subscribe(config)
	_, messages = b.Subscribe(shortLease())
	publishWithMetadata(b, n)
	fixture.ReceiveAll(b, others, n)
	for range n {
		msg := fixture.Receive(b, messages)
		ids = append(ids, fixture.EntryOf(b, msg).ID)
		redisstream.Reject(msg, errors.New("no milk"))
		msg.Nack()
	}
	b.Eventually("they are dead letters", func() bool { return len(b.DeadLetters()) == n })
	return messages, others, ids
}

// Dead letters go back to the group that gave them up, and to no other.
func TestRetryDeadLetters(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	messages, others, ids := rejectAll(b, 5)
	n, err := redisstream.RetryDeadLetters(t.Context(), b.Client, b.Topic, 2)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	n, err = redisstream.RetryDeadLettersByID(t.Context(), b.Client, b.Topic, b.DeadLetters()[0].ID, "1-1")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	n, err = redisstream.RetryDeadLettersFunc(t.Context(), b.Client, b.Topic, func(letter redisstream.DeadLetter) bool { return letter.EntryID == ids[4] })
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Len(t, b.DeadLetters(), 1)
	for range 4 {
		msg := fixture.Receive(t, messages)
		entry := fixture.EntryOf(t, msg)
		assert.Contains(t, []string{ids[0], ids[1], ids[2], ids[4]}, entry.ID)
		assert.EqualValues(t, 1, entry.Deliveries)
		assert.Equal(t, message.Metadata{"name": "value"}, msg.Metadata)
		require.True(t, msg.Ack())
	}
	fixture.NothingComes(t, others, 100*time.Millisecond)
	nothingIsLeft(b)
}

func TestRetryDeadLetters_errors(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, err := redisstream.RetryDeadLettersByID(t.Context(), b.Client, b.Topic, "first")
	require.ErrorContains(t, err, `retry dead letters of "`+b.Topic+`": "first" is not an entry's ID`)
	b.Do("XADD", redisstream.DeadLetterTopic(b.Topic), "1-0", "foreign", "letter")
	n, err := redisstream.RetryDeadLetters(t.Context(), b.Client, b.Topic, 10)
	require.ErrorContains(t, err, "dead letter 1-0: names no group or no entry")
	assert.Zero(t, n)
	b.AddDeadLetter("another topic in the same stream", "x")
	id := b.AddDeadLetter(b.Topic, "same entry")
	twin := b.AddDeadLetter(b.Topic, "same entry")
	n, err = redisstream.RetryDeadLettersByID(t.Context(), b.Client, b.Topic, id, twin)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.EqualValues(t, 1, queued(b), "one entry")
}

// If the reply is lost, the move is sent again and counted once.
func TestRetryDeadLetters_lostReply(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	client := b.Server.Client(t, func(o *redis.Options) { o.Addr, o.MaxRetries = proxy.Addr, -1 })
	for _, id := range []string{"1-0", "2-0", "3-0"} {
		b.Do("XADD", redisstream.DeadLetterTopic(b.Topic), "*", "data", "x", redisstream.DeadLetterGroupKey, "g",
			redisstream.DeadLetterIDKey, id, redisstream.DeadLetterStreamKey, b.Topic)
	}
	letters := b.DeadLetters()
	_, err := redisstream.RetryDeadLettersByID(t.Context(), client, b.Topic, letters[0].ID)
	require.NoError(t, err)
	replies := 0
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if replies++; string(chunk) == ":1\r\n" && replies < 10 {
			return 0, true
		}
		return len(chunk), false
	})
	n, err := redisstream.RetryDeadLetters(t.Context(), client, b.Topic, 10)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.EqualValues(t, 3, queued(b))
}
