package pausing

import (
	"bytes"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The reply to a read is lost, and a pause begins before the subscription searches for what it had:
// only the server knows of those entries. They come after the pause, in order, although ShouldClaim refuses
// all that others have.
func TestPause_afterALostReply(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := fixture.FastClaimConfig()
	config.Client = redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { require.NoError(t, config.Client.Close()) })
	config.ShouldClaim = func(redisstream.PendingEntry) bool { return false }
	subscriber, messages := b.Subscribe(config)
	b.Eventually("it is a member", func() bool { return len(b.Consumers()) == 1 })
	lost := make(chan struct{})
	filter := redistest.Filter(func(chunk []byte) (int, bool) {
		isInfo := bytes.Contains(chunk, []byte("first-entry")) // XINFO STREAM has entries too
		if isInfo || !bytes.Contains(chunk, []byte("payload")) {
			return len(chunk), false
		}
		proxy.OnReply(func(chunk []byte) (int, bool) { return len(chunk), false })
		subscriber.Pause()
		close(lost)
		return 0, true
	})
	proxy.OnReply(filter)
	b.Publish(3)
	redistest.Within(t, "a lost reply", lost)
	b.Eventually("all are released", func() bool {
		rows, err := b.Client.XPendingExt(b.Context(), &redis.XPendingExtArgs{
			Stream: b.Topic, Group: "g", Idle: 10 * 365 * 24 * time.Hour, Start: "-", End: "+", Count: 10,
		}).Result()
		return assert.NoError(t, err) && len(rows) > 0
	})
	subscriber.Resume()
	assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}
