package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The read that shows activity counts no delivery, whatever IDs there are.
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
			if name != "the last ID" { // its owner shows no activity, and is not removed
				assert.Less(t, after.Idle, time.Since(began)+10*time.Millisecond, "RemoveIdle renews our idle time")
			}
		})
	}
}

// consumer returns the state of the only consumer of the group.
func consumer(t *testing.T, client redis.Cmdable, key string) redis.XInfoConsumer {
	t.Helper()
	list, err := client.XInfoConsumers(context.Background(), key, groupName).Result()
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// trimmed trims a stream of n entries. The group has acknowledged those up to acked, and XDEL has
// deleted some.
func trimmed(t *testing.T, client *redis.Client, n, acked int, deleted ...int) (key string, dropped int64) {
	t.Helper()
	key = ownKey(t)
	pipe := client.Pipeline()
	for i := range n {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: fmt.Sprintf("%d-0", i+1), Values: []any{"n", i}})
	}
	for _, i := range deleted {
		pipe.XDel(t.Context(), key, fmt.Sprintf("%d-0", i))
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.XGroupCreate(t.Context(), key, groupName, fmt.Sprintf("%d-0", acked)).Err())
	group := stream.NewGroup(client, key, groupName, "a")
	t.Cleanup(group.Close)
	dropped, err = group.Trim(t.Context(), 0, 0)
	require.NoError(t, err)
	return key, dropped
}

// An exact XTRIM MINID can leave a node with only deleted entries (XDEL), which Redis 8.8 and newer
// refuse to load.
func TestTrim_leavesNoNodeWithoutEntries(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for _, test := range []struct {
		entries, acked int
		deleted        []int
		left, nodes    int
	}{
		{2, 1, []int{2}, 0, 0},
		{3, 2, []int{1, 2}, 1, 1},
		{3, 1, []int{2}, 1, 1},
		{150, 60, []int{61, 62, 63}, 87, 2},
		{150, 99, []int{100}, 50, 1},
		{250, 250, []int{250}, 0, 0},
	} {
		key, dropped := trimmed(t, client, test.entries, test.acked, test.deleted...)
		info := client.XInfoStream(t.Context(), key).Val()
		assert.EqualValues(t, test.left, info.Length, test)
		assert.EqualValues(t, test.entries-len(test.deleted)-test.left, dropped, test)
		assert.EqualValues(t, test.nodes, info.RadixTreeKeys, "nodes: %v", test)
	}
}

func TestTrim_ofAnyAge(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, ids := handedOut(t, client, 10)
	require.NoError(t, group.Ack(t.Context(), ids))
	const year = 365 * 24 * time.Hour
	for _, age := range []time.Duration{70 * year, 250 * year, 1<<63 - 1} {
		dropped, err := group.Trim(t.Context(), age, 0)
		require.NoError(t, err, age)
		assert.Zero(t, dropped)
	}
	assert.EqualValues(t, 10, client.XLen(t.Context(), key).Val())
}

func TestTrim_manyGroups(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, ids := handedOut(t, client, 1000)
	require.NoError(t, group.Ack(t.Context(), ids))
	for i := range 200 {
		require.NoError(t, client.XGroupCreate(t.Context(), key, fmt.Sprint(i), ids[len(ids)-1-i]).Err())
	}
	dropped, err := group.Trim(t.Context(), 0, 0)
	require.NoError(t, err)
	assert.EqualValues(t, 801, dropped)
}

// If there are more pending entries than one call visits, several calls drop what is between them,
// on servers that can.
func TestTrim_manyPending(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, ids := handedOut(t, client, 6000)
	var even []string
	for i := 0; i < len(ids); i += 2 {
		even = append(even, ids[i])
	}
	require.NoError(t, group.Ack(t.Context(), even))
	supported := client.Do(t.Context(), "xtrim", key, "minid", "0", "acked").Err() == nil
	for range 10 {
		_, err := group.Trim(t.Context(), 0, 0)
		require.NoError(t, err)
	}
	left := client.XLen(t.Context(), key).Val()
	assert.GreaterOrEqual(t, left, int64(3000))
	if supported {
		assert.InDelta(t, 6000-1000, left, nodeSize, "up to the thousandth pending entry")
	} else {
		assert.GreaterOrEqual(t, left, int64(5999))
	}
	assert.Len(t, pendingRows(t, client, key), 3000)
}
