package stream_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroup_pendingPages(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 4)
	b := join(t, client, key, "b")
	more := add(t, client, key, 2)
	require.Len(t, read(t, b, 2), 2)
	pretendIdle(t, client, key, "a", added[1], added[3])

	list := func(page stream.Page) []string {
		rows, err := a.Pending(t.Context(), page)
		require.NoError(t, err)
		var found []string
		for _, row := range rows {
			found = append(found, row.ID)
		}
		return found
	}
	assert.Equal(t, append(added[:4:4], more...), list(stream.Page{From: "-", Count: 10}))
	assert.Equal(t, added[:2], list(stream.Page{From: "-", Count: 2}))
	assert.Equal(t, added[2:4], list(stream.Page{From: stream.After(added[1]), Count: 2}), "the next page")
	assert.Equal(t, added, list(stream.Page{From: "-", Count: 10, Own: true}))
	assert.Equal(t, []string{added[1], added[3]}, list(stream.Page{From: "-", Count: 10, Idle: time.Minute}))
	assert.Empty(t, list(stream.Page{From: stream.After(more[1]), Count: 10}))
}

func TestRenewLeases_tellsLostAndTrimmedAndRenewsTheRest(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 6)
	const (
		renewed = iota
		taken
		acknowledged
		trimmed
		notNamed
		counted
	)
	pretendIdle(t, client, key, "a", added...)
	pretendIdle(t, client, key, "b", added[taken])
	require.NoError(t, a.Ack(t.Context(), []string{added[acknowledged]}))
	require.NoError(t, client.XDel(t.Context(), key, added[trimmed]).Err())

	lost, gone, err := a.RenewLeases(t.Context(), []stream.Lease{
		{ID: added[renewed], Deliveries: 1},
		{ID: added[taken], Deliveries: 1},
		{ID: added[acknowledged], Deliveries: 1},
		{ID: added[trimmed], Deliveries: 1},
		{ID: added[counted], Deliveries: 7},
		{ID: "1-1", Deliveries: 1}, // neither pending nor in the stream
	})
	require.NoError(t, err)
	assert.Equal(t, []string{added[taken], added[acknowledged]}, lost)
	assert.Equal(t, []string{added[trimmed], "1-1"}, gone)
	assert.Equal(t, map[string]row{
		added[renewed]: {"a", 1}, added[taken]: {"b", 1}, added[notNamed]: {"a", 1}, added[counted]: {"a", 7},
	}, pending(t, client, key), "what is trimmed is off the list")
	for _, row := range pendingRows(t, client, key) {
		switch row.ID {
		case added[renewed], added[counted]:
			assert.Less(t, row.Idle, time.Minute, "renewed")
		default:
			assert.GreaterOrEqual(t, row.Idle, time.Hour, "not touched")
		}
	}
}

// Two renewals of a trimmed entry overlap, or the reply to the first is lost. The first takes the
// entry off the pending list, and the second still reports it as trimmed, not as lost.
func TestRenewLeases_reportsATrimmedEntryAgain(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 1)
	require.NoError(t, client.XDel(t.Context(), key, added[0]).Err())
	for range 2 {
		lost, trimmed, err := a.RenewLeases(t.Context(), []stream.Lease{{ID: added[0], Deliveries: 1}})
		require.NoError(t, err)
		assert.Empty(t, lost)
		assert.Equal(t, added, trimmed)
	}
}

// A renewal that was in flight while a delivery was counted must not take it back.
func TestRenewLeases_neverCountsLess(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 1)
	for _, deliveries := range []int64{3, 2, 1} {
		_, _, err := a.RenewLeases(t.Context(), []stream.Lease{{ID: added[0], Deliveries: deliveries}})
		require.NoError(t, err)
		assert.Equal(t, map[string]row{added[0]: {"a", 3}}, pending(t, client, key))
	}
}

func TestRenewLeases_ofNothing(t *testing.T) {
	t.Parallel()
	group, _, _ := handedOut(t, redistest.Shared().Client(t), 1)
	lost, trimmed, err := group.RenewLeases(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, lost)
	assert.Empty(t, trimmed)
}

func TestRelease_freesForAnybodyAtOnce(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 4)
	b := join(t, client, key, "b")
	others := add(t, client, key, 1)
	require.Len(t, read(t, b, 1), 1)
	require.NoError(t, client.Do(t.Context(), "xclaim", key, groupName, "a", 0, added[2], "retrycount", 5, "justid").Err())

	// The only delivery of an entry without a lease is taken back. If there were several, other
	// consumers made them.
	require.NoError(t, release(t, a, []stream.Lease{{ID: added[0], Deliveries: 1}, {ID: added[1], Deliveries: 3}}, true))
	assert.Equal(t, map[string]row{
		added[0]: {"a", 1}, added[1]: {"a", 3}, added[2]: {"a", 5}, added[3]: {"a", 0}, others[0]: {"b", 1},
	}, pending(t, client, key))
	assert.Contains(t, consumers(t, client, key), "a", "it owns something")

	rows := pendingRows(t, client, key)
	claimed, err := b.Claim(t.Context(), stream.Claim{Limit: all, Rows: rows, MinIdle: 365 * 24 * time.Hour})
	require.NoError(t, err)
	assert.Equal(t, added, ids(claimed.Entries), "all but what b holds, which it is working on")
	assert.Empty(t, claimed.Trimmed)
	assert.Equal(t, map[string]row{
		added[0]: {"b", 1}, added[1]: {"b", 3}, added[2]: {"b", 5}, added[3]: {"b", 1}, others[0]: {"b", 1},
	}, pending(t, client, key), "the next delivery is not counted yet, but for the first")
}

// A process may end before it has searched for the entries of an earlier process with its name. It
// then leaves the counts as they are. Otherwise a message that crashes each process would never
// reach the delivery limit.
func TestRelease_leavesTheCountsOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	_, key, added := handedOut(t, client, 2)
	require.NoError(t, client.Do(t.Context(), "xclaim", key, groupName, "a", 0, added[1], "retrycount", 3, "justid").Err())
	_, err := join(t, client, key, "a").Release(t.Context(), stream.Release{})
	require.NoError(t, err)
	assert.Equal(t, map[string]row{added[0]: {"a", 1}, added[1]: {"a", 3}}, pending(t, client, key))
}

func TestRelease_ignoresLeasesThatAreLost(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 2)
	pretendIdle(t, client, key, "b", added[0])
	require.NoError(t, a.Ack(t.Context(), added[1:]))
	require.NoError(t, release(t, a, []stream.Lease{{ID: added[0], Deliveries: 9}, {ID: added[1], Deliveries: 9}}, false))
	assert.Equal(t, map[string]row{added[0]: {"b", 1}}, pending(t, client, key))
	assert.Less(t, pendingRows(t, client, key)[0].Idle, 2*time.Hour, "it is not released")
}

func TestRelease_removesAConsumerOnlyWhenItOwnsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for name, test := range map[string]struct {
		ack, remove, trim bool
		stays             bool
	}{
		"owns nothing":                   {ack: true, remove: true, stays: false},
		"owns nothing, is not to go":     {ack: true, remove: false, stays: true},
		"owns something":                 {ack: false, remove: true, stays: true},
		"owned only what was trimmed":    {trim: true, remove: true, stays: false},
		"owns something, is not to go":   {remove: false, stays: true},
		"owned trimmed, is not to leave": {trim: true, remove: false, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, key, added := handedOut(t, client, 3)
			if test.ack {
				require.NoError(t, a.Ack(t.Context(), added))
			}
			if test.trim {
				require.NoError(t, client.XTrimMaxLen(t.Context(), key, 0).Err())
			}
			require.NoError(t, release(t, a, nil, test.remove))
			assert.Equal(t, test.stays, len(consumers(t, client, key)) == 1)
			if !test.ack && !test.trim {
				assert.Len(t, pending(t, client, key), 3, "nothing pending is ever dropped")
			} else {
				assert.Empty(t, pending(t, client, key))
			}
		})
	}
}

func TestRelease_manyPages(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for _, n := range []int{999, 1000, 1001, 2000, 2500} { // a page is 1000
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			a, key, added := handedOut(t, client, n)
			leases := make([]stream.Lease, 0, n/2)
			want := map[string]row{}
			for i, id := range added {
				want[id] = row{"a", 0}
				if i%2 == 0 {
					leases = append(leases, stream.Lease{ID: id, Deliveries: int64(i)})
					want[id] = row{"a", int64(i)}
				}
			}
			require.NoError(t, release(t, a, leases, true))
			assert.Equal(t, want, pending(t, client, key))
			for _, row := range pendingRows(t, client, key) {
				assert.Greater(t, row.Idle, 365*24*time.Hour)
			}
			assert.Equal(t, []string{"a"}, consumers(t, client, key))

			require.NoError(t, a.Ack(t.Context(), added))
			require.NoError(t, release(t, a, leases, true))
			assert.Empty(t, consumers(t, client, key))
		})
	}
}

// release returns the error of a Release.
func release(t *testing.T, g *stream.Group, leases []stream.Lease, remove bool) error {
	t.Helper()
	_, err := g.Release(t.Context(), stream.Release{Leases: leases, TakeBack: true, Remove: remove})
	return err
}

func TestRelease_tellsWhatWasTrimmed(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, key, added := handedOut(t, client, 3)
	require.NoError(t, client.XDel(t.Context(), key, added[1]).Err())
	trimmed, err := group.Release(t.Context(), stream.Release{Remove: true})
	require.NoError(t, err)
	assert.Equal(t, added[1:2], trimmed)
}

// countAs sets the delivery count of a pending entry of the consumer "a". XNACK FATAL sets it to
// the largest number.
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
