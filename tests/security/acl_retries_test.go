package security

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights for retries, as the README documents them beside the users.
var (
	subscriberRetries = []string{
		"~{orders}:retry:*", "+exists", "+time", "+zadd", "+zrange", "+zrangebyscore", "+zrem", "+hget", "+hmget", "+hset", "+hdel",
	}
	replayerRetries = []string{"~{orders}:retry:*", "+zadd", "+zscore", "+hset"}
)

func TestACL_retries(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "the subscriber `"+strings.Join(subscriberRetries, " ")+
		"`, the replayer `"+strings.Join(replayerRetries, " ")+"` |")
	t.Run("with the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		config := fixture.FastClaimConfig()
		config.Client = fixture.ConnectURL(b, server.CreateUser(b, "subscriber", forTopic(b, subscriberRetries)...))
		subscriber, messages := b.Subscribe(config)
		b.Publish(1)
		for range 2 { // put into the queue from the stream, and from the queue
			msg := fixture.Receive(t, messages)
			redisstream.RetryAfter(msg, 200*time.Millisecond)
			msg.Nack()
		}
		msg := fixture.Receive(t, messages)
		time.Sleep(2 * config.ClaimMinIdle) // its lease is renewed
		redisstream.Reject(msg, errors.New("no milk"))
		msg.Nack()
		b.Eventually("it is a dead letter", func() bool { return len(b.DeadLetters()) == 1 })
		replayer := fixture.ConnectURL(b, server.CreateUser(b, "replayer", forTopic(b, replayerRetries)...))
		n, err := redisstream.RetryDeadLetters(t.Context(), replayer, b.Topic, 1)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		held := fixture.Receive(t, messages)
		require.True(t, held.Ack())
		require.NoError(t, subscriber.Close())
		assert.Empty(t, server.Denied(b, "subscriber"))
		assert.Empty(t, server.Denied(b, "replayer"))
	})
	t.Run("without the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		config := fixture.FastClaimConfig()
		config.Client = server.ConnectAs(b, "subscriber")
		var log redistest.Log
		messages := b.SubscribeLogged(config, &log)
		b.Publish(1)
		msg := fixture.Receive(t, messages)
		redisstream.RetryAfter(msg, 300*time.Millisecond)
		nacked := time.Now()
		msg.Nack()
		require.True(t, fixture.Receive(t, messages).Ack())
		assert.GreaterOrEqual(t, time.Since(nacked), 300*time.Millisecond)
		assert.Equal(t, 1, log.Count("messages could not be put into the retry queue"))
		assert.Empty(t, server.Denied(b, "subscriber"))
	})
}
