package recovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowestCommand returns the time and the name of the slowest command on the stream since the last
// SLOWLOG RESET, and how many commands took 100 ms or more.
func slowestCommand(b *fixture.Bench) (took time.Duration, what string, slow int) {
	b.Helper()
	logs, err := b.Client.SlowLogGet(b.Context(), -1).Result()
	require.NoError(b, err)
	for _, l := range logs {
		if !slices.Contains(l.Args, b.Topic) {
			continue
		}
		if l.Duration >= 100*time.Millisecond {
			slow++
		}
		if l.Duration > took {
			took, what = l.Duration, strings.Join(l.Args[:min(3, len(l.Args))], " ")
		}
	}
	return took, what, slow
}

// The pending list has a hundred thousand trimmed entries in front of a live one.
func TestTakeOver_trimmedPendingEntriesDelayNothing(t *testing.T) {
	t.Parallel()
	const trimmed, page = 100_000, 10_000
	b := fixture.NewOn(t, redistest.Start(t, "--slowlog-log-slower-than", "5000", "--slowlog-max-len", "1000"))
	b.Do("XGROUP", "CREATE", b.Topic, "g", "0", "MKSTREAM")
	for range trimmed / page {
		pipe := b.Client.Pipeline()
		for range page {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"a", "b"}})
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		b.ReadAs("dead", page)
	}
	b.Do("XTRIM", b.Topic, "MAXLEN", 0)
	b.Publish(1)
	b.ReadAs("dead", 1)
	b.Do("SLOWLOG", "RESET")
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	var log redistest.Log
	began := time.Now()
	messages := b.SubscribeLogged(config, &log)
	newer := make(chan error, 1)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	go func() { // new entries are published meanwhile
		for range 100 {
			if err := publisher.Publish(b.Topic, message.NewMessage(watermill.NewShortUUID(), []byte("new"))); err != nil {
				newer <- err
				return
			}
		}
		newer <- nil
	}()
	live, fresh, freshAfter := time.Duration(0), 0, time.Duration(0)
	limit := time.After(3 * fixture.Soon)
	for live == 0 || fresh < 100 {
		select {
		case msg := <-messages:
			if string(msg.Payload) == "new" {
				if fresh++; fresh == 100 {
					freshAfter = time.Since(began)
				}
			} else {
				live = time.Since(began)
			}
			msg.Ack()
		case <-limit:
			require.FailNow(t, "stuck", "live after %s, %d new ones", live, fresh)
		}
	}
	require.NoError(t, <-newer)
	b.Eventually("nothing is pending", func() bool { return b.Pending() == 0 })
	b.Eventually("logged", func() bool { return log.Count("trimmed from the stream before they were handled") == 1 })
	assert.Equal(t, 1, log.Count(fmt.Sprintf("count=%d", trimmed)))
	took, what, slow := slowestCommand(b)
	t.Logf("the live one came after %s, 100 new ones after %s; slowest command: %s (%s)", live, freshAfter, took, what)
	assert.LessOrEqual(t, slow, 1, "about 10 ms each; on a busy machine one may have waited for a core")
	assert.Less(t, took, time.Second)
}
