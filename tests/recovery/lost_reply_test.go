package recovery

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Connections are cut repeatedly: before a request reaches the server, between the request and its
// reply, and during the reply. Entries in a lost reply are found at once, before they are idle for
// ClaimMinIdle. Nothing stays pending.
func TestLostReply_connectionsCutAtAnyPoint(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(p *redistest.Proxy, f redistest.Filter){
		"request": (*redistest.Proxy).OnSend,
		"reply":   (*redistest.Proxy).OnReply,
	} {
		for _, share := range []int{0, 1, 2} { // nothing of the chunk passes, half of it, all of it
			t.Run(name+[]string{" lost", " torn", " passed"}[share], func(t *testing.T) {
				t.Parallel()
				const total = 2000
				b := fixture.New(t)
				proxy := redistest.NewProxy(t, b.Server.Addr, 0)
				behind := b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
				config := fixture.GroupConfig()
				config.Client = behind
				config.ClaimMinIdle = time.Hour // idle entries are never claimed
				_, messages := b.Subscribe(config)
				var chunks atomic.Int64
				cut(proxy, func(chunk []byte) (int, bool) {
					if chunks.Add(1)%25 != 0 || bytes.Contains(chunk, []byte("hello")) {
						return len(chunk), false
					}
					return len(chunk) * share / 2, true
				})
				b.Publish(total)
				seen := map[string]int{}
				for len(seen) < total {
					msg := fixture.Receive(t, messages)
					seen[string(msg.Payload)]++
					msg.Ack()
				}
				cut(proxy, nil)
				b.Eventually("nothing stays pending", func() bool { return b.Pending() == 0 })
				for payload, n := range seen {
					require.Equal(t, 1, n, "%s: its lease was never lost", payload)
				}
			})
		}
	}
}
