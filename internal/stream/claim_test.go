package stream_test

import (
	"fmt"
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
			next := int64(1) // the next delivery
			if lost {
				next = 0 // the server has counted it
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

// The idle time of an entry stays 0 after the server's clock was set back, and its owner is silent.
// If the owner comes back and delivers it, its idle time is 0, too, but another delivery is counted.
func TestClaim_frozenEntryWhoseOwnerCameBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t, time.Hour)
	client := server.Client(t)
	a, key, added := handedOut(t, client, 2)
	b := join(t, client, key, "b")
	require.NoError(t, server.SetClock(0))
	rows, err := b.Pending(t.Context(), stream.Page{From: "-", Count: 10})
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.NoError(t, server.SetClock(time.Hour))
	_, _, err = a.RenewLeases(t.Context(), []stream.Lease{{ID: added[0], Deliveries: 2}})
	require.NoError(t, err)
	require.NoError(t, server.SetClock(0)) // stands for the moment in which it has no idle time
	claimed, err := b.Claim(t.Context(), stream.Claim{Rows: rows, Limit: noLimit(), Frozen: true})
	require.NoError(t, err)
	assert.Equal(t, added[1:], ids(claimed.Entries))
}
