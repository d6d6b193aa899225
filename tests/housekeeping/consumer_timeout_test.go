package housekeeping

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readAs reads n entries as a consumer of another process.
func readAs(b *fixture.Bench, group, consumer string, n int) (ids []string) {
	b.Helper()
	streams, err := b.Client.XReadGroup(b.Context(), &redis.XReadGroupArgs{
		Group: group, Consumer: consumer, Streams: []string{b.Topic, ">"}, Count: int64(n), Block: -1,
	}).Result()
	require.NoError(b, err)
	for _, msg := range streams[0].Messages {
		ids = append(ids, msg.ID)
	}
	return ids
}

// Consumers with generated names are removed when their process died. Live ones, those with pending
// entries, and those with configured names stay.
func TestConsumerTimeout_removesConsumersOfDeadProcesses(t *testing.T) {
	t.Parallel()
	const dead, owner = "host~ABCDEFGHI2", "other~ABCDEFGHI3"
	given := []string{"given", "host~abc", "host~ABCDEFGHI1", "~ABCDEFGHI2x"}
	b := fixture.New(t)
	b.Publish(2)
	b.Do("XGROUP", "CREATE", b.Topic, "g", "0")
	owned := readAs(b, "g", owner, 2)
	for _, name := range append(given, dead) {
		b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", name)
	}
	config := fixture.FastRemovalConfig()
	config.ClaimInterval = -1
	b.Subscribe(config)
	b.Subscribe(config)
	b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), dead) })
	for range 3 { // live ones stay while others are removed
		b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", dead)
		b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), dead) })
		assert.Len(t, b.Consumers(), len(given)+3, "the live ones and the owner")
	}
	assert.Subset(t, b.Consumers(), append(given, owner))
	assert.EqualValues(t, 2, b.Pending())
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "g", owned...).Err())
	b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), owner) })
}

func TestConsumerTimeout_disabled(t *testing.T) {
	t.Parallel()
	config := fixture.FastRemovalConfig()
	config.ConsumerTimeout = -1
	b := fixture.New(t)
	b.Subscribe(config)
	b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "host~ABCDEFGHI2")
	nothing := time.After(200 * time.Millisecond)
	for done := false; !done; {
		select {
		case <-nothing:
			done = true
		default:
			require.Contains(t, b.Consumers(), "host~ABCDEFGHI2")
		}
	}
}

// Close can't remove a consumer whose released entries are pending. It is removed after others have
// handled them.
func TestConsumerTimeout_removesConsumersThatReleasedEntries(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(2)
	config := fixture.FastRemovalConfig()
	config.CloseTimeout = -1
	first, messages := b.Subscribe(config)
	fixture.Receive(t, messages)
	require.NoError(t, first.Close())
	require.Len(t, b.Consumers(), 1, "it owns the entries that it released")
	released := b.Consumers()[0]
	config.ClaimInterval = 20 * time.Millisecond
	_, messages = b.Subscribe(config)
	fixture.ReceiveAll(t, messages, 2)
	b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), released) })
	assert.Len(t, b.Consumers(), 1)
}
