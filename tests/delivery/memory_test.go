package delivery

import (
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// byteBudget is the documented byte budget of a subscription.
const byteBudget = 16 << 20

// A subscription needs less than four times its byte budget of memory for a stream of large
// entries. The test is not parallel, because it measures the process.
func TestLargeEntries_memoryIsBounded(t *testing.T) { //nolint:paralleltest // it measures the heap
	for _, small := range []int{0, 5000} {
		for _, workers := range []int{16} {
			t.Run(fmt.Sprintf("behind %d small ones, %d workers", small, workers), func(t *testing.T) { //nolint:paralleltest // as above
				const large, size = 48, 4 << 20
				b := fixture.NewOn(t, redistest.Start(t, "--appendonly", "no"))
				config := fixture.GroupConfig()
				config.StartID, config.MaxInFlight = "0", workers
				var messages <-chan *message.Message
				if small > 0 {
					b.Publish(small)
					_, messages = b.Subscribe(config)
					fixture.ReceiveAll(t, messages, small)
				}
				peak := fixture.PeakHeap(func() {
					fill(t, b, large, size)
					if small == 0 {
						_, messages = b.Subscribe(config)
					}
					for range large {
						msg := fixture.Receive(t, messages)
						assert.Len(t, msg.Payload, size)
						require.True(t, msg.Ack())
					}
				})
				t.Logf("%.1f MiB at most", float64(peak)/(1<<20))
				assert.Less(t, peak, int64(4*byteBudget))
			})
		}
	}
}

// fill adds n entries with a script, so that this process allocates nothing for them.
func fill(t *testing.T, b *fixture.Bench, n, size int) {
	t.Helper()
	add := redis.NewScript(`redis.call('XADD', KEYS[1], '*', '_watermill_message_uuid', ARGV[1], 'payload', string.rep('x', ARGV[1]), 'metadata', '\128')`)
	for range n {
		if err := add.Run(t.Context(), b.Client, []string{b.Topic}, size).Err(); err != redis.Nil { //nolint:errorlint // redis.Nil is not wrapped
			require.NoError(t, err)
		}
	}
}
