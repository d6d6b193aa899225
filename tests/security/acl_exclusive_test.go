package security

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights of an exclusive member, as the README documents them beside the users.
var subscriberExclusive = []string{"~{orders}:owner:*", "+time", "+hmget", "+hset", "+pexpire"}

func TestACL_exclusive(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "| the subscriber `"+strings.Join(subscriberExclusive, " ")+"` |")
	config := fixture.FastClaimConfig()
	config.Exclusive, config.MaxDeliveries, config.NackBackoff = true, 2, func(int) time.Duration { return 0 }
	t.Run("with the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		config := config
		config.Client = fixture.ConnectURL(b, server.CreateUser(b, "subscriber", forTopic(b, subscriberExclusive)...))
		first, messages := b.Subscribe(config)
		b.Publish(3)
		for range config.MaxDeliveries {
			require.True(t, fixture.Receive(t, messages).Nack())
		}
		held := fixture.Receive(t, messages)
		time.Sleep(2 * config.ClaimMinIdle) // its lease and that of the stream are renewed
		require.True(t, held.Ack())
		_, next := b.Subscribe(config)
		require.NoError(t, first.Close())
		require.True(t, fixture.Receive(t, next).Ack())
		b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
		assert.Len(t, b.DeadLetters(), 1)
		assert.Empty(t, server.Denied(b, "subscriber"))
	})
	t.Run("without the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		config := config
		config.Client = server.ConnectAs(b, "subscriber")
		_, err := b.Subscriber(config).Subscribe(t.Context(), b.Topic)
		require.ErrorContains(t, err, b.Topic+"}:owner:g")
	})
}
