package recovery

import (
	"fmt"
	"regexp"
	"strconv"
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

var scriptStats = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+),usec=(\d+)`)

// scripts returns how many scripts ran since the last CONFIG RESETSTAT, and how long one took.
func scripts(b *fixture.Bench) (calls int, mean time.Duration) {
	b.Helper()
	stats, err := b.Client.Info(b.Context(), "commandstats").Result()
	require.NoError(b, err)
	found := scriptStats.FindStringSubmatch(stats)
	require.NotNil(b, found, stats)
	calls, err = strconv.Atoi(found[1])
	require.NoError(b, err)
	usec, err := strconv.Atoi(found[2])
	require.NoError(b, err)
	return calls, time.Duration(usec/calls) * time.Microsecond
}

// The pending list has a hundred thousand trimmed entries in front of a live one.
func TestTakeOver_trimmedPendingEntriesDelayNothing(t *testing.T) {
	t.Parallel()
	const trimmed, page = 100_000, 10_000
	b := fixture.NewOn(t, redistest.Start(t))
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
	b.Do("CONFIG", "RESETSTAT")
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
	calls, mean := scripts(b)
	t.Logf("the live one came after %s, 100 new ones after %s; %d scripts, of %s", live, freshAfter, calls, mean)
	assert.GreaterOrEqual(t, calls, trimmed/100, "none does more than a page")
	assert.Less(t, mean, 50*time.Millisecond, "about 1 ms, if no other process has the core")
}
