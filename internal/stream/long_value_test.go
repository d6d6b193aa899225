package stream_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// countAs sets the delivery count of a pending entry of the consumer "a", as XNACK FATAL does for the largest one.
func countAs(t *testing.T, client *redis.Client, key, id string, count int64) {
	t.Helper()
	require.NoError(t, client.Do(t.Context(), "xclaim", key, groupName, "a", 0, id, "retrycount", count, "justid").Err())
}

func TestRenewLeases_countsBeyondTheNumbersOfLua(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, ids := handedOut(t, client, 4)
	countAs(t, client, key, ids[0], math.MaxInt64)
	countAs(t, client, key, ids[1], 1<<53)
	countAs(t, client, key, ids[2], 1<<53-1)
	lost, trimmed, err := group.RenewLeases(t.Context(), []stream.Lease{{ids[0], 1}, {ids[1], 1}, {ids[2], 1}, {ids[3], math.MaxInt64}})
	require.NoError(t, err)
	assert.Empty(t, lost)
	assert.Empty(t, trimmed)
	rows := pending(t, client, key)
	assert.EqualValues(t, math.MaxInt64, rows[ids[0]].deliveries)
	assert.EqualValues(t, math.MaxInt64, rows[ids[1]].deliveries)
	assert.EqualValues(t, 1<<53-1, rows[ids[2]].deliveries)
	assert.EqualValues(t, math.MaxInt64, rows[ids[3]].deliveries)
}

func TestRelease_countsBeyondTheNumbersOfLua(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, ids := handedOut(t, client, 4)
	countAs(t, client, key, ids[0], math.MaxInt64)
	countAs(t, client, key, ids[1], math.MaxInt64)
	countAs(t, client, key, ids[2], 1<<53-1)
	_, err := group.Release(t.Context(), stream.Release{Leases: []stream.Lease{{ids[1], 3}}, TakeBack: true})
	require.NoError(t, err)
	rows := pending(t, client, key)
	assert.EqualValues(t, math.MaxInt64, rows[ids[0]].deliveries)
	assert.EqualValues(t, math.MaxInt64, rows[ids[1]].deliveries, "it is to be given up")
	assert.EqualValues(t, 1<<53-1, rows[ids[2]].deliveries)
	assert.EqualValues(t, 0, rows[ids[3]].deliveries)
}

// The sign of life of a consumer counts no delivery, whatever IDs there are.
func TestRemoveIdle_signOfLifeReadsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for name, ids := range map[string][]string{
		"nothing pending": nil,
		"large IDs":       {"18446744073709551615-0", "18446744073709551615-1", "18446744073709551615-18446744073709551614"},
		"the last ID":     {"18446744073709551615-18446744073709551615"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := ownKey(t)
			group := join(t, client, key, "a")
			for _, id := range ids {
				require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"n", "1"}}).Err())
			}
			require.Len(t, read(t, group, 10), len(ids))
			before := consumer(t, client, key)
			require.Eventually(t, func() bool { return consumer(t, client, key).Idle > 20*time.Millisecond }, soon, time.Millisecond)
			began := time.Now()
			for range 3 {
				_, err := group.RemoveIdle(t.Context(), []string{"^other"}, time.Hour)
				require.NoError(t, err)
			}
			rows := pending(t, client, key)
			require.Len(t, rows, len(ids))
			for _, id := range ids {
				assert.EqualValues(t, 1, rows[id].deliveries, id)
			}
			after := consumer(t, client, key)
			assert.Equal(t, before.Pending, after.Pending)
			if name != "the last ID" { // who owns something is not removed
				assert.Less(t, after.Idle, time.Since(began)+10*time.Millisecond, "a sign of life")
			}
		})
	}
}

// consumer returns what the server says of the only consumer of the group.
func consumer(t *testing.T, client redis.Cmdable, key string) redis.XInfoConsumer {
	t.Helper()
	list, err := client.XInfoConsumers(context.Background(), key, groupName).Result()
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}
