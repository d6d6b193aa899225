package security

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights for member records and pauses, as the README documents them beside the users.
var memberRights = []string{"~{orders}:members:*", "~{orders}:paused:*", "+exists", "+time", "+hset", "+hdel", "+pexpire"}

func TestACL_pausing(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "the subscriber `"+strings.Join(memberRights, " ")+"` |")
	t.Run("with the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		config := fixture.FastRemovalConfig()
		config.Client = fixture.ConnectURL(b, server.CreateUser(b, "subscriber", forTopic(b, memberRights)...))
		members := redisstream.MembersKey(b.Topic, "g")
		subscriber, messages := b.Subscribe(config)
		b.Eventually("a record", func() bool { return b.Client.HLen(t.Context(), members).Val() == 1 })
		b.Do("HSET", members, "host~ABCDEFGHI2", "1 {}")
		b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "host~ABCDEFGHI2")
		b.Eventually("removed", func() bool { return b.Client.HLen(t.Context(), members).Val() == 1 })
		b.Do("SET", redisstream.PauseKey(b.Topic, "g"), "{}")
		time.Sleep(2 * time.Second)
		b.Publish(1)
		fixture.NothingComes(b, messages, 2*time.Second)
		b.Do("DEL", redisstream.PauseKey(b.Topic, "g"))
		require.True(t, fixture.Receive(t, messages).Ack())
		require.NoError(t, subscriber.Close())
		assert.Zero(t, b.Client.HLen(t.Context(), members).Val())
		assert.Empty(t, server.Denied(b, "subscriber"))
	})
	t.Run("without the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		config := fixture.FastClaimConfig()
		config.Client = server.ConnectAs(b, "subscriber")
		var log redistest.Log
		b.Do("SET", redisstream.PauseKey(b.Topic, "g"), "{}") // it can't know
		messages := b.SubscribeLogged(config, &log)
		b.Publish(2)
		for range 2 {
			require.True(t, fixture.Receive(t, messages).Ack())
		}
		b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
		assert.Zero(t, b.Client.Exists(t.Context(), redisstream.MembersKey(b.Topic, "g")).Val())
		assert.Zero(t, log.Count("failed"))
		assert.Empty(t, server.Denied(b, "subscriber"))
	})
}

// The user loses the right to look at the key. The group is not paused any more, and reading goes on.
func TestACL_pausingRightIsTakenAway(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	for _, interval := range []time.Duration{fixture.FastClaimConfig().ClaimInterval, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			user := "subscriber"
			config := fixture.FastClaimConfig()
			config.ClaimInterval = interval
			config.Client = fixture.ConnectURL(b, server.CreateUser(b, user, forTopic(b, memberRights)...))
			var log redistest.Log
			messages := b.SubscribeLogged(config, &log)
			b.Publish(1)
			fixture.ReceiveAll(b, messages, 1)
			b.Do("SET", redisstream.PauseKey(b.Topic, "g"), "{}")
			b.Eventually("paused", func() bool { return log.Count("the subscription is paused") == 1 })
			b.Do("ACL", "SETUSER", user+b.Topic, "-exists")
			b.Publish(1)
			fixture.ReceiveAll(b, messages, 1)
			time.Sleep(2500 * time.Millisecond) // so that it looks again
			b.Publish(1)
			fixture.ReceiveAll(b, messages, 1)
			assert.Zero(t, log.Count("failed; retrying"))
		})
	}
}
