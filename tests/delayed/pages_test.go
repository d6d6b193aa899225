package delayed

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Drop and Deliver hold a page of messages in memory, however many there are, and look at each
// message once. The test is not parallel, because it measures the process.
func TestDelayedMessages_memoryIsBounded(t *testing.T) { //nolint:paralleltest // it measures the heap
	const n, size, page = 10_000, 4 << 10, 100
	for name, apply := range map[string]func(context.Context, redis.UniversalClient, string, func(redisstream.DelayedMessage) bool) (int, error){
		"drop": redisstream.DropDelayedMessages, "deliver": redisstream.DeliverDelayedMessages,
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // as above
			b := fixture.NewOn(t, redistest.Start(t, "--appendonly", "no"))
			scheduleLarge(b, n, size)
			var reads, looks int
			b.Client.AddHook(hook(func(command redis.Cmder, _ error) {
				if command.Name() == "zrange" {
					reads++
				}
			}))
			peak := fixture.PeakHeap(func() {
				applied, err := apply(t.Context(), b.Client, b.Topic, func(redisstream.DelayedMessage) bool {
					looks++
					return looks%2 == 0
				})
				require.NoError(t, err)
				assert.Equal(t, n/2, applied)
			})
			t.Logf("%.1f MiB at most, %d reads", float64(peak)/(1<<20), reads)
			assert.Less(t, peak, int64(n*size/4))
			assert.Equal(t, n, looks)
			assert.Less(t, reads, n/page*11/10)
			assert.EqualValues(t, n/2, b.Client.ZCard(t.Context(), redisstream.DelayedKey(b.Topic)).Val())
		})
	}
}

// scheduleLarge schedules n messages in calls of 100, so that many have the same time.
func scheduleLarge(b *fixture.Bench, n, size int) {
	b.Helper()
	publisher := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client})
	payload := []byte(strings.Repeat("x", size))
	for range n / 100 {
		messages := make([]*message.Message, 100)
		for i := range messages {
			messages[i] = message.NewMessage("", payload)
			delay.Message(messages[i], delay.For(time.Hour))
		}
		require.NoError(b, publisher.Publish(b.Topic, messages...))
	}
}
