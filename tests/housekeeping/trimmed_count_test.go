package housekeeping

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/fixture"
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

// addCapped adds n entries in one transaction. The newest keep entries stay.
func addCapped(b *fixture.Bench, n int, keep int64) {
	b.Helper()
	pipe := b.Client.TxPipeline()
	for i := range n {
		pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: b.Topic, MaxLen: keep, Values: []any{"data", i}})
	}
	_, err := pipe.Exec(b.Context())
	require.NoError(b, err)
}

// Entries that are trimmed before the group's first read are counted, except those from before the
// group.
func TestTrimmedCount_groupThatNeverRead(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "$"} {
		for _, older := range []int{0, 50} {
			t.Run(fmt.Sprint(start, older), func(t *testing.T) {
				t.Parallel()
				b := fixture.NewOn(t, redistest.Start(t))
				log := &redistest.Log{}
				if older > 0 {
					addCapped(b, older, 10)
				}
				config := fixture.FastClaimConfig()
				config.Client, config.StartID, config.Unmarshaler = b.Client, start, fixture.PlainFanOutConfig(b.Client).Unmarshaler
				require.NoError(t, b.Subscriber(config).SubscribeInitialize(b.Topic))
				addCapped(b, 5000, 100)
				messages := b.SubscribeLogged(config, log)
				fixture.ReceiveAll(t, messages, 100)
				want := 4900
				if start == "0" && older > 0 {
					want += 10
				}
				b.Eventually("counted", func() bool { return groupMissed(log) == want })
				fixture.NothingComes(t, messages, 200*time.Millisecond)
				assert.Equal(t, want, groupMissed(log))
			})
		}
	}
}

// A consumer whose message fails repeatedly falls behind the trimming.
func TestTrimmedCount_messageThatFails(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	log := &redistest.Log{}
	config := fixture.FastClaimConfig()
	config.Client, config.Unmarshaler = b.Client, fixture.PlainFanOutConfig(b.Client).Unmarshaler
	messages := b.SubscribeLogged(config, log)
	addCapped(b, 1, 100)
	failing := fixture.Receive(t, messages)
	id := fixture.EntryOf(t, failing).ID
	for i := range 10 {
		addCapped(b, 50, 100)
		b.AwaitTwoScans() // entries that are trimmed and skipped between two scans are not counted
		failing.Nack()
		failing = fixture.Receive(t, messages)
		require.Equal(t, id, fixture.EntryOf(t, failing).ID, "after nack %d\n%s", i+1, log.Lines())
	}
	b.AwaitTwoScans()
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
	assert.Equal(t, 500-handled, groupMissed(log), log.Lines())
}

// XINFO STREAM is rarely sent if entries are large, because its reply contains the first and the
// last entry.
func TestTrimmedCount_largeEntriesAreNotCopiedEachScan(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	config := fixture.FastClaimConfig()
	config.Client, config.Unmarshaler = b.Client, fixture.PlainFanOutConfig(b.Client).Unmarshaler
	for range 4 {
		fixture.AddPlain(t, b.Client, b.Topic, "*", strings.Repeat("x", 1<<20))
	}
	_, messages := b.Subscribe(config)
	fixture.Receive(t, messages)
	for range 5 {
		b.AwaitTwoScans()
	}
	stats, err := b.Client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	var calls int
	if _, after, found := strings.Cut(stats, "cmdstat_xinfo|stream:calls="); found {
		_, err = fmt.Sscan(strings.NewReplacer(",", " ").Replace(after), &calls)
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, calls, 1)
}
