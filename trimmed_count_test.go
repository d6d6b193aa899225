package redisstream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const groupMissedLine = "entries were trimmed from the stream before the group read them"

func groupMissed(log *redistest.Log) (sum int) {
	for _, line := range log.Lines() {
		if _, after, found := strings.Cut(line, " count="); found && strings.Contains(line, groupMissedLine) {
			var n int
			_, _ = fmt.Sscan(after, &n)
			sum += n
		}
	}
	return sum
}

// addCapped adds n entries at once; the newest keep stay.
func (b *bench) addCapped(n int, keep int64) {
	b.Helper()
	pipe := b.client.TxPipeline()
	for i := range n {
		pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: b.topic, MaxLen: keep, Values: []any{"data", i}})
	}
	_, err := pipe.Exec(b.Context())
	require.NoError(b, err)
}

// What is trimmed before a group ever read is counted from the group's creation on, and nothing from before.
func TestTrimmedCount_groupThatNeverRead(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "$"} {
		for _, older := range []int{0, 50} {
			t.Run(fmt.Sprint(start, older), func(t *testing.T) {
				t.Parallel()
				b := newBenchOn(t, redistest.Start(t))
				log := &redistest.Log{}
				if older > 0 {
					b.addCapped(older, 10)
				}
				config := fastClaims()
				config.Client, config.StartID, config.Unmarshaler = b.client, start, plainFanout(b.client).Unmarshaler
				require.NoError(t, b.subscriber(config).SubscribeInitialize(b.topic))
				b.addCapped(5000, 100)
				messages := b.subscribeLogged(config, log)
				receiveAll(t, messages, 100)
				want := 4900
				if start == "0" && older > 0 {
					want += 10
				}
				b.eventually("counted", func() bool { return groupMissed(log) == want })
				nothingComes(t, messages, 200*time.Millisecond)
				assert.Equal(t, want, groupMissed(log))
			})
		}
	}
}

// A live consumer whose message fails again and again falls behind.
func TestTrimmedCount_messageThatFails(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	log := &redistest.Log{}
	config := fastClaims()
	config.Client, config.Unmarshaler = b.client, plainFanout(b.client).Unmarshaler
	messages := b.subscribeLogged(config, log)
	b.addCapped(1, 100)
	failing := receive(t, messages)
	for i := range 10 {
		b.addCapped(50, 100)
		b.twoTurns() // what is passed over between two looks is not seen; a slow handler has nothing read ahead
		failing.Nack()
		failing = receive(t, messages)
		require.Equal(t, "0", string(failing.Payload), i)
	}
	b.twoTurns()
	failing.Ack()
	handled := 0
	for quiet := false; !quiet; {
		var msg *message.Message
		select {
		case msg = <-messages:
			handled++
			msg.Ack()
		case <-time.After(time.Second):
			quiet = true
		}
	}
	assert.Equal(t, 500-handled, groupMissed(log))
}

// Looks at a stream of large entries, whose first and last the server has to copy, are rare.
func TestTrimmedCount_largeEntriesAreNotCopiedEachTurn(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	config := fastClaims()
	config.Client, config.Unmarshaler = b.client, plainFanout(b.client).Unmarshaler
	for range 4 {
		addPlain(t, b.client, b.topic, "*", strings.Repeat("x", 1<<20))
	}
	_, messages := b.subscribe(config)
	receive(t, messages)
	for range 5 {
		b.twoTurns()
	}
	stats, err := b.client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	var calls int
	if _, after, found := strings.Cut(stats, "cmdstat_xinfo|stream:calls="); found {
		_, err = fmt.Sscan(strings.NewReplacer(",", " ").Replace(after), &calls)
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, calls, 1)
}
