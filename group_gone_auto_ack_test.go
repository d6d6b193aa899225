package redisstream_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// behindProxy returns a client of the bench's server, and what makes its group vanish: between runs before the client is told.
func (b *bench) behindProxy() (client *redis.Client, vanish func(between func())) {
	b.Helper()
	proxy := redistest.NewProxy(b.T, b.server.Addr, 0)
	return b.server.Client(b.T, func(o *redis.Options) { o.Addr = proxy.Addr }), func(between func()) {
		noticed, done := make(chan struct{}), make(chan struct{})
		var once sync.Once
		proxy.OnReply(func(chunk []byte) (int, bool) {
			if bytes.Contains(chunk, []byte("NOGROUP")) {
				once.Do(func() { close(noticed); <-done })
			}
			return len(chunk), false
		})
		b.do("XGROUP", "DESTROY", b.topic, "g")
		waitDone(b, noticed, "the group's end is told")
		between()
		close(done)
	}
}

func atMostOnce(client redis.UniversalClient) redisstream.SubscriberConfig {
	config := inGroupG()
	config.Client, config.AutoAck, config.ClaimInterval = client, true, 50*time.Millisecond
	return config
}

// At most once also holds when the group vanishes: what it had handed out does not come again, not even to a process that
// read none of it, and whoever creates the group first.
func TestGroupGone_atMostOnce(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(b *bench){
		"destroyed":             func(*bench) {},
		"created by a newcomer": func(b *bench) { b.do("XGROUP", "CREATE", b.topic, "g", "0") },
		"created by a member that knew less": func(b *bench) {
			b.do("XGROUP", "CREATE", b.topic, "g", "0")
			b.do("XGROUP", "CREATECONSUMER", b.topic, "g", "redisstream~RECREATED2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, redistest.Start(t))
			client, vanish := b.behindProxy()
			first, messages := b.subscribe(atMostOnce(client))
			b.publish(1000)
			receiveAll(t, messages, 1000)
			require.NoError(t, first.Close())
			_, messages = b.subscribe(atMostOnce(client)) // a restart
			b.twoTurns()
			vanish(func() { between(b) })
			b.publish(3)
			assert.Equal(t, upTo(3), receiveAll(t, messages, 3))
			nothingComes(t, messages, 200*time.Millisecond)
		})
	}
}

// Who sets a group back by hand wants it all again.
func TestGroupGone_atMostOnceAndSetByHand(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	_, messages := b.subscribe(atMostOnce(b.client))
	b.publish(100)
	receiveAll(t, messages, 100)
	b.twoTurns()
	b.do("XGROUP", "SETID", b.topic, "g", "0")
	b.twoTurns()
	b.publish(1)
	assert.Equal(t, append(upTo(100), "0"), receiveAll(t, messages, 101))
}
