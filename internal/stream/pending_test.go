package stream_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClaim_takesOverWithFieldsAndCount(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost reply ", lost), func(t *testing.T) {
			t.Parallel()
			_, key, added := handedOut(t, client, 3)
			require.NoError(t, client.Do(t.Context(), "xclaim", key, groupName, "a", 0, added[1], "retrycount", 3, "justid").Err())
			b := join(t, client, key, "b")
			claimed, err := b.Claim(t.Context(), stream.Claim{Limit: all, Rows: pendingRows(t, client, key)[1:], ReplyLost: lost})
			require.NoError(t, err)
			assert.Empty(t, claimed.Trimmed)
			next := int64(1) // the delivery to come
			if lost {
				next = 0 // is counted already
			}
			assert.Equal(t, []stream.Entry{
				{ID: added[1], Fields: stream.NewFields("n", "1"), Deliveries: 3 + next, Counted: 3, Claimed: true},
				{ID: added[2], Fields: stream.NewFields("n", "2"), Deliveries: 1 + next, Counted: 1, Claimed: true},
			}, claimed.Entries)
			assert.Equal(t, map[string]row{
				added[0]: {"a", 1}, added[1]: {"b", 3}, added[2]: {"b", 1},
			}, pending(t, client, key))
		})
	}
}

func TestClaim_takesItsOwnToo(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 1)
	claimed, err := a.Claim(t.Context(), stream.Claim{Limit: all, Rows: pendingRows(t, client, key), ReplyLost: true})
	require.NoError(t, err)
	assert.Equal(t, added, ids(claimed.Entries))
	assert.EqualValues(t, 1, claimed.Entries[0].Deliveries, "the repetition of a delivery that was lost")
}

func TestClaim_keepsEveryByteOfTheFields(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{string(every), every, "", ""}}).Err())
	want := read(t, join(t, client, key, "a"), 1)
	claimed, err := join(t, client, key, "b").Claim(t.Context(), stream.Claim{Limit: all, Rows: pendingRows(t, client, key)})
	require.NoError(t, err)
	assert.Equal(t, want[0].Fields, claimed.Entries[0].Fields)
}

func TestClaim_leavesAloneWhatChangedSince(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 3)
	rows := pendingRows(t, client, key)
	pretendIdle(t, client, key, "c", added[0]) // another took it over
	require.NoError(t, a.Ack(t.Context(), added[1:2]))

	claimed, err := join(t, client, key, "b").Claim(t.Context(), stream.Claim{Limit: all, Rows: rows})
	require.NoError(t, err)
	assert.Equal(t, added[2:], ids(claimed.Entries))
	assert.Empty(t, claimed.Trimmed, "what was acknowledged was not trimmed")
	assert.Equal(t, map[string]row{added[0]: {"c", 1}, added[2]: {"b", 1}}, pending(t, client, key))
	assert.GreaterOrEqual(t, pendingRows(t, client, key)[0].Idle, time.Hour, "its idle time goes on")
}

func TestClaim_oneOfTwoGetsAnEntry(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	_, key, _ := handedOut(t, client, 100)
	claim := stream.Claim{Limit: all, Rows: pendingRows(t, client, key)}
	results := make(chan []stream.Entry, 2)
	for _, name := range []string{"b", "c"} {
		group := join(t, client, key, name)
		go func() {
			claimed, err := group.Claim(t.Context(), claim)
			assert.NoError(t, err)
			results <- claimed.Entries
		}()
	}
	first, second := redistest.Within(t, "Claim", results), redistest.Within(t, "Claim", results)
	assert.Len(t, append(first, second...), 100)
	for id, row := range pending(t, client, key) {
		assert.EqualValues(t, 1, row.deliveries, id)
		assert.NotEqual(t, "a", row.consumer, id)
	}
}

func TestClaim_returnsAndForgetsWhatWasTrimmed(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for name, minIdle := range map[string]time.Duration{"at once": 0, "idle long enough": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, key, added := handedOut(t, client, 4)
			pretendIdle(t, client, key, "a", added...)
			rows := pendingRows(t, client, key)
			require.NoError(t, client.XDel(t.Context(), key, added[0], added[2]).Err())
			claimed, err := join(t, client, key, "b").Claim(t.Context(),
				stream.Claim{Limit: all, Rows: rows, MinIdle: minIdle})
			require.NoError(t, err)
			assert.Equal(t, []string{added[0], added[2]}, claimed.Trimmed)
			assert.Equal(t, []string{added[1], added[3]}, ids(claimed.Entries))
			assert.Equal(t, map[string]row{added[1]: {"b", 1}, added[3]: {"b", 1}}, pending(t, client, key))
		})
	}
}

func TestClaim_respectsMinIdle(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	_, key, added := handedOut(t, client, 3)
	pretendIdle(t, client, key, "a", added[1])
	claimed, err := join(t, client, key, "b").Claim(t.Context(),
		stream.Claim{Limit: all, Rows: pendingRows(t, client, key), MinIdle: time.Minute})
	require.NoError(t, err)
	assert.Equal(t, added[1:2], ids(claimed.Entries))
	assert.Empty(t, claimed.Trimmed)
	assert.Equal(t, map[string]row{added[0]: {"a", 1}, added[1]: {"b", 1}, added[2]: {"a", 1}}, pending(t, client, key))
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
		{ID: "1-1", Deliveries: 1}, // in no list and no stream
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

// Two renewals of a trimmed entry overlap, or the reply to the first is lost. The first takes the entry off the pending list, and
// the second still reports that it was trimmed: nobody else has it.
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

// A renewal that was under way while a delivery was counted must not take that back.
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

	// Of the entries that no lease names, the first delivery is taken back. More of them were made by others.
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

// A process that ends before it has looked for what an earlier one of its name had leaves the counts as they are: else a message
// that kills its process would never be given up.
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
