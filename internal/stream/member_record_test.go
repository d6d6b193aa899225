package stream_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reporting returns a consumer that may write member records, and the hash.
func reporting(t *testing.T, client redis.UniversalClient, key, consumer string) (*stream.Group, string) {
	t.Helper()
	group, members := join(t, client, key, consumer), key+":members"
	require.NoError(t, group.CheckRights(t.Context(), stream.RequiredRights{Members: members}))
	require.True(t, group.Reports())
	return group, members
}

func TestMemberRecord_roundTrip(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, members := reporting(t, client, ownKey(t), "a")
	want := stream.MemberRecord{
		Host: "host a", PID: 42, Started: time.Now().UTC().Round(0), Every: time.Second, Lease: 30 * time.Second, Workers: 16, Limit: 5,
		AutoAck: true, Paused: true, InFlight: 3, Ahead: 4, Blocking: true,
		Held:    []stream.HeldEntry{{ID: "1-0", For: time.Minute, Deliveries: 2}},
		Failing: []stream.HeldEntry{{ID: "2-0", For: time.Hour, Deliveries: 9}},
	}
	before, err := client.Time(t.Context()).Result()
	require.NoError(t, err)
	require.NoError(t, group.Report(t.Context(), want))
	value, err := client.HGet(t.Context(), members, "a").Result()
	require.NoError(t, err)
	got, err := stream.ParseMemberRecord(value)
	require.NoError(t, err)
	assert.WithinRange(t, got.Reported, before.Truncate(time.Millisecond), before.Add(soon))
	want.Reported = got.Reported
	assert.Equal(t, want, got)
	assert.Greater(t, client.PTTL(t.Context(), members).Val(), 23*time.Hour)
}

func TestParseMemberRecord_ofOthers(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "1", "x {}", "1 ", "1 {", `{"host":"a"}`, `1 {"pid":"a"}`} {
		_, err := stream.ParseMemberRecord(value)
		require.Error(t, err, value)
	}
	record, err := stream.ParseMemberRecord(`1700000000001 {"host":"a","later":[1]}`)
	require.NoError(t, err)
	assert.Equal(t, stream.MemberRecord{Host: "a", Reported: time.UnixMilli(1_700_000_000_001)}, record)
}

func TestParsePauseRecord(t *testing.T) {
	t.Parallel()
	record, err := stream.ParsePauseRecord(`{"since":"2026-11-27T12:00:00Z","by":"me","reason":"why"}`)
	require.NoError(t, err)
	assert.Equal(t, stream.PauseRecord{Since: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), By: "me", Reason: "why"}, record)
	_, err = stream.ParsePauseRecord("1")
	require.Error(t, err)
}

// A consumer that leaves, or is removed, has no record any more; others keep theirs.
func TestMemberRecord_ofConsumersThatLeave(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	ids := add(t, client, key, 1)
	for _, name := range []string{"leaves", "stays", "dead"} {
		group, _ := reporting(t, client, key, name)
		require.NoError(t, group.Report(t.Context(), stream.MemberRecord{}))
	}
	stays, members := reporting(t, client, key, "stays")
	leaves, _ := reporting(t, client, key, "leaves")
	require.Len(t, read(t, leaves, 1), 1)

	_, err := leaves.Release(t.Context(), stream.Release{Leases: []stream.Lease{{ID: ids[0]}}})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"leaves", "stays", "dead"}, client.HKeys(t.Context(), members).Val(), "a release alone is no leave")
	_, err = leaves.Release(t.Context(), stream.Release{Leases: []stream.Lease{{ID: ids[0]}}, Leaves: true})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"stays", "dead"}, client.HKeys(t.Context(), members).Val())
	assert.Contains(t, consumers(t, client, key), "leaves", "its entry keeps it in the group")

	require.Eventually(t, func() bool {
		removed, err := stays.RemoveIdle(t.Context(), []string{"^dead$"}, 5*time.Millisecond)
		require.NoError(t, err)
		return len(removed) == 1
	}, soon, time.Millisecond)
	assert.Equal(t, []string{"stays"}, client.HKeys(t.Context(), members).Val())
}

// A delivery that was taken back, or kept, by an earlier release is not changed by the next one.
func TestRelease_releasedEntriesKeepTheirCounts(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, ids := handedOut(t, client, 3)
	_, err := group.Release(t.Context(), stream.Release{Leases: []stream.Lease{{ID: ids[0], Deliveries: 1}}, Keep: ids[1:2], TakeBack: true})
	require.NoError(t, err)
	for range 2 {
		rows := pending(t, client, key)
		assert.EqualValues(t, 1, rows[ids[0]].deliveries, "a handler had it")
		assert.EqualValues(t, 1, rows[ids[1]].deliveries, "a handler has it")
		assert.EqualValues(t, 0, rows[ids[2]].deliveries, "nobody had it")
		_, err = group.Release(t.Context(), stream.Release{Keep: ids[1:2], TakeBack: true})
		require.NoError(t, err)
	}
}
