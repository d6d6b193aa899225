package stream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lease is how long an entry of a retry queue is leased in these tests.
const lease = 200 * time.Millisecond

// useRetryQueue makes a consumer use the retry queue of its group. It returns the queue's key.
func useRetryQueue(t *testing.T, key string, consumers ...*stream.Group) (queue string) {
	t.Helper()
	queue = "{" + key + "}:retry:" + groupName
	for _, consumer := range consumers {
		require.NoError(t, consumer.CheckRights(t.Context(), stream.RequiredRights{RetryQueue: queue, Lease: lease}))
	}
	return queue
}

func postponement(id string, wait time.Duration, deliveries int64) stream.Postponement {
	return stream.Postponement{Lease: stream.Lease{ID: id, Deliveries: deliveries}, Wait: wait}
}

func noLimit() stream.Limit { return stream.Limit{Count: 100, Bytes: 1 << 20} }

// takes returns the IDs and counts of what a consumer takes from the queue.
func takes(t *testing.T, consumer *stream.Group, limit stream.Limit) (ids []string, counts []int64, wait time.Duration) {
	t.Helper()
	entries, wait, err := consumer.TakeRetries(t.Context(), limit)
	require.NoError(t, err)
	for _, e := range entries {
		ids, counts = append(ids, e.ID), append(counts, e.Deliveries)
	}
	return ids, counts, wait
}

func TestPostpone_movesWhatIsHeld(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 4)
	b := join(t, client, key, "b")
	queue := useRetryQueue(t, key, a, b)
	const (
		held = iota
		taken
		trimmed
		acknowledged
	)
	pretendIdle(t, client, key, "b", added[taken])
	require.NoError(t, client.XDel(t.Context(), key, added[trimmed]).Err())
	require.NoError(t, a.Ack(t.Context(), []string{added[acknowledged]}))
	postpone := func() []stream.PostponeResult {
		var list []stream.Postponement
		for _, id := range added {
			list = append(list, postponement(id, time.Hour, 7))
		}
		results, err := a.Postpone(t.Context(), list)
		require.NoError(t, err)
		return results
	}
	want := []stream.PostponeResult{stream.Postponed, stream.PostponedNotOwned, stream.PostponedTrimmed, stream.PostponedNotOwned}
	assert.Equal(t, want, postpone())
	assert.Equal(t, want, postpone(), "a lost reply: it can be repeated")
	assert.Equal(t, []string{added[held]}, client.ZRange(t.Context(), queue, 0, -1).Val())
	assert.Len(t, pending(t, client, key), 2)
	ids, _, wait := takes(t, b, noLimit())
	assert.Empty(t, ids)
	assert.InDelta(t, time.Hour.Seconds(), wait.Seconds(), 10)
}

func TestTakeRetries_oneConsumerAtATime(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 3)
	b := join(t, client, key, "b")
	queue := useRetryQueue(t, key, a, b)
	for i, id := range added {
		results, err := a.Postpone(t.Context(), []stream.Postponement{postponement(id, 0, int64(i))})
		require.NoError(t, err)
		require.Equal(t, []stream.PostponeResult{stream.Postponed}, results)
	}
	require.NoError(t, client.ZAdd(t.Context(), queue, redis.Z{Member: "deleted"}).Err())
	time.Sleep(5 * time.Millisecond) // all are due
	ids, counts, _ := takes(t, a, stream.Limit{Count: 3, Bytes: 1 << 20})
	assert.Equal(t, added[:2], ids, "one member of the set has no entry")
	assert.Equal(t, []int64{1, 2}, counts)
	ids, _, wait := takes(t, b, noLimit())
	assert.Equal(t, added[2:], ids, "the others are leased")
	assert.LessOrEqual(t, wait, lease)
	assert.Positive(t, wait)

	lost, trimmed, err := a.RenewLeases(t.Context(), []stream.Lease{{ID: added[0], Deliveries: 5}, {ID: added[2], Deliveries: 1}})
	require.NoError(t, err)
	assert.Equal(t, []string{added[2]}, append(lost, trimmed...), "a never had it: it is neither pending nor in the queue for a")
	require.NoError(t, a.Ack(t.Context(), []string{added[1], added[2]}))
	assert.EqualValues(t, 2, client.ZCard(t.Context(), queue).Val(), "the entry of b stays")
	require.Eventually(t, func() bool {
		ids, counts, _ = takes(t, b, noLimit())
		return len(ids) > 0
	}, redistest.Soon, 5*time.Millisecond)
	assert.Subset(t, []string{added[0], added[2]}, ids, "leases end")
	_, err = b.Release(t.Context(), stream.Release{Leases: []stream.Lease{{ID: ids[0], Deliveries: 9}}})
	require.NoError(t, err)
	released := ids[0]
	ids, counts, _ = takes(t, a, noLimit())
	assert.Contains(t, ids, released, "at once")
	assert.Contains(t, counts, int64(10))
}

// A reply has a bound in bytes, and one entry always comes.
func TestTakeRetries_bytes(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, _ := handedOut(t, client, 0)
	useRetryQueue(t, key, a)
	for range 10 {
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{"data", strings.Repeat("x", 1000)}}).Err())
	}
	entries := read(t, a, 10)
	var list []stream.Postponement
	for _, e := range entries {
		list = append(list, postponement(e.ID, 0, 1))
	}
	_, err := a.Postpone(t.Context(), list)
	require.NoError(t, err)
	time.Sleep(5 * time.Millisecond)
	ids, _, wait := takes(t, a, stream.Limit{Count: 10, Bytes: 1})
	assert.Len(t, ids, 1)
	assert.Zero(t, wait, "others are due")
	ids, _, _ = takes(t, a, stream.Limit{Count: 10, Bytes: 3500})
	assert.Len(t, ids, 4)
}

// Fields of any bytes come back as they were, in their order and with duplicates.
func TestTakeRetries_fields(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, _ := handedOut(t, client, 0)
	useRetryQueue(t, key, a)
	var bytes strings.Builder
	for i := range 256 {
		bytes.WriteByte(byte(i))
	}
	values := []any{"b", "1:", "a", "", "", bytes.String(), "b", "\r\n3:abc"}
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: values}).Err())
	e := read(t, a, 1)[0]
	_, err := a.Postpone(t.Context(), []stream.Postponement{postponement(e.ID, 0, 1)})
	require.NoError(t, err)
	time.Sleep(5 * time.Millisecond)
	entries, _, err := a.TakeRetries(t.Context(), noLimit())
	require.NoError(t, err)
	require.Len(t, entries, 1)
	var got []any
	for name, value := range entries[0].Fields.All() {
		got = append(got, name, value)
	}
	assert.Equal(t, values, got)
}

func TestPostpone_withoutAQueue(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, _, added := handedOut(t, client, 1)
	_, err := a.Postpone(t.Context(), []stream.Postponement{postponement(added[0], 0, 1)})
	require.ErrorContains(t, err, "NOPERM the user may not use the retry queue")
}
