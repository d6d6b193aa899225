package redisstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowest returns how long the slowest of the server's commands on the key took since the last reset of its SLOWLOG.
func (b *bench) slowest() (took time.Duration, what string) {
	b.Helper()
	logs, err := b.client.SlowLogGet(b.Context(), -1).Result()
	require.NoError(b, err)
	for _, l := range logs {
		if slices.Contains(l.Args, b.topic) && l.Duration > took {
			took, what = l.Duration, strings.Join(l.Args[:min(3, len(l.Args))], " ")
		}
	}
	return took, what
}

// A hundred thousand trimmed entries in the pending list are in front of a live one.
func TestTrimmed_pendingEntriesDelayNothing(t *testing.T) {
	t.Parallel()
	const trimmed, page = 100_000, 10_000
	b := newBenchOn(t, redistest.Start(t, "--slowlog-log-slower-than", "5000", "--slowlog-max-len", "1000"))
	b.do("XGROUP", "CREATE", b.topic, "g", "0", "MKSTREAM")
	for range trimmed / page {
		pipe := b.client.Pipeline()
		for range page {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"a", "b"}})
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		b.handOut("dead", page)
	}
	b.do("XTRIM", b.topic, "MAXLEN", 0)
	b.publish(1)
	b.handOut("dead", 1)
	b.do("SLOWLOG", "RESET")
	config := fastClaims()
	config.Client = b.client
	var log redistest.Log
	began := time.Now()
	messages := b.subscribeLogged(config, &log)
	newer := make(chan error, 1)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: b.client})
	go func() { // new entries flow meanwhile
		for range 100 {
			if err := publisher.Publish(b.topic, message.NewMessage(watermill.NewShortUUID(), []byte("new"))); err != nil {
				newer <- err
				return
			}
		}
		newer <- nil
	}()
	live, fresh, freshAfter := time.Duration(0), 0, time.Duration(0)
	limit := time.After(3 * soon)
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
	b.eventually("nothing is pending", func() bool { return b.pending() == 0 })
	b.eventually("said", func() bool { return log.Count("trimmed from the stream before they were handled") == 1 })
	assert.Equal(t, 1, log.Count(fmt.Sprintf("count=%d", trimmed)))
	took, what := b.slowest()
	t.Logf("the live one came after %s, 100 new ones after %s; slowest command: %s (%s)", live, freshAfter, took, what)
	assert.Less(t, took, time.Second, "10 ms on a machine that is not busy; 149 ms were seen on one with three suites at the same time")
}

// With ClaimInterval < 0 nothing is taken from others, but what our own name owns and nobody here has is found.
func TestNeverClaim_looksAfterItsOwn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "fixed"} {
		t.Run("name "+name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.publish(3)
			b.pendingSince("other", b.handOut("other", 1), time.Hour)
			config := fastClaims()
			config.ClaimInterval, config.Consumer = -1, name
			config.MaxInFlight = 1
			_, messages := b.subscribe(config)
			first := receive(t, messages) // the reader has no room for more, so that the next entry is ours to hand out
			own := entryOf(t, first).Consumer
			lost := b.handOut(own, 1)
			require.Len(t, lost, 1)
			began := time.Now()
			require.True(t, first.Ack())
			msg := receive(t, messages)
			assert.Equal(t, lost[0].ID, entryOf(t, msg).ID)
			assert.GreaterOrEqual(t, time.Since(began), 250*time.Millisecond, "its lease")
			require.True(t, msg.Ack())
			b.eventually("acked", func() bool { return b.pending() == 1 })
			nothingComes(t, messages, 2*time.Second)
			rows, err := b.client.XPendingExt(t.Context(), &redis.XPendingExtArgs{
				Stream: b.topic, Group: "g", Start: "-", End: "+", Count: 10,
			}).Result()
			require.NoError(t, err)
			require.Len(t, rows, 1)
			assert.Equal(t, "other", rows[0].Consumer)
		})
	}
}
