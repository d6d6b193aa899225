package recovery

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clientThatLosesTheGroup returns a client of the Bench's server, and a function that destroys its
// group. The function calls between before the client gets the error of the server.
func clientThatLosesTheGroup(b *fixture.Bench) (client *redis.Client, vanish func(between func())) {
	b.Helper()
	proxy := redistest.NewProxy(b.T, b.Server.Addr, 0)
	return b.Server.Client(b.T, func(o *redis.Options) { o.Addr = proxy.Addr }), func(between func()) {
		noticed, done := make(chan struct{}), make(chan struct{})
		var once sync.Once
		proxy.OnReply(func(chunk []byte) (int, bool) {
			if bytes.Contains(chunk, []byte("NOGROUP")) {
				once.Do(func() { close(noticed); <-done })
			}
			return len(chunk), false
		})
		b.Do("XGROUP", "DESTROY", b.Topic, "g")
		fixture.WaitDone(b, noticed, "the NOGROUP error")
		between()
		close(done)
	}
}

func atMostOnce(client redis.UniversalClient) redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.Client, config.AutoAck, config.ClaimInterval = client, true, 50*time.Millisecond
	return config
}

// AutoAck delivers at most once even when the group vanishes. What was delivered does not come
// again, whoever recreates the group, not even to a process that read none of it.
func TestRecreate_autoAckIsAtMostOnce(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(b *fixture.Bench){
		"destroyed":             func(*fixture.Bench) {},
		"created by a newcomer": func(b *fixture.Bench) { b.Do("XGROUP", "CREATE", b.Topic, "g", "0") },
		"created by a member that knew less": func(b *fixture.Bench) {
			b.Do("XGROUP", "CREATE", b.Topic, "g", "0")
			b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "redisstream~RECREATED2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t))
			client, vanish := clientThatLosesTheGroup(b)
			first, messages := b.Subscribe(atMostOnce(client))
			b.Publish(1000)
			fixture.ReceiveAll(t, messages, 1000)
			require.NoError(t, first.Close())
			_, messages = b.Subscribe(atMostOnce(client)) // a new process
			b.AwaitTwoScans()
			vanish(func() { between(b) })
			b.Publish(3)
			assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
			fixture.NothingComes(t, messages, 200*time.Millisecond)
		})
	}
}

// When a user sets a group back, entries that were read are delivered again.
func TestRecreate_autoAckAndGroupSetByHand(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	_, messages := b.Subscribe(atMostOnce(b.Client))
	b.Publish(100)
	fixture.ReceiveAll(t, messages, 100)
	b.AwaitTwoScans()
	b.Do("XGROUP", "SETID", b.Topic, "g", "0")
	b.AwaitTwoScans()
	b.Publish(1)
	assert.Equal(t, append(fixture.Payloads(100), "0"), fixture.ReceiveAll(t, messages, 101))
}
