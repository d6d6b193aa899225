package stream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newFanout(t *testing.T, client redis.UniversalClient, key, start string) *stream.Fanout {
	t.Helper()
	fanout, err := stream.NewFanout(t.Context(), client, key, start)
	require.NoError(t, err)
	t.Cleanup(fanout.Close)
	return fanout
}

// "$" is the newest ID that the stream ever had, at the time of NewFanout.
func TestFanout_beginsAtTheEnd(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	begin := func(want int) {
		fanout := newFanout(t, client, key, "$")
		added := add(t, client, key, want)
		entries, err := fanout.Read(t.Context(), stream.Limit{Count: 10}, time.Millisecond)
		require.NoError(t, err)
		assert.Equal(t, added, ids(entries))
	}
	begin(3) // no stream
	begin(2)
	require.NoError(t, client.XTrimMaxLen(t.Context(), key, 0).Err())
	begin(1)
}

func TestFanout_readsEveryEntryOnceInOrder(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	old := add(t, client, key, 2)
	fanout := newFanout(t, client, key, old[0])
	added := add(t, client, key, 10)
	want := slices.Concat(old[1:], added)
	var got []string
	for range 20 {
		entries, err := fanout.Read(t.Context(), stream.Limit{Count: 3}, time.Millisecond)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(entries), 3)
		for _, entry := range entries {
			assert.EqualValues(t, 1, entry.Deliveries)
			assert.Contains(t, entry.Fields.Map(), "n")
		}
		got = append(got, ids(entries)...)
		fanout.Reset(t.Context()) // a new connection goes on where the old one was
	}
	assert.Equal(t, want, got)
}

// What is trimmed before the first read counts as missed, also where the stream did not exist at the
// beginning.
func TestFanout_missedFromTheBeginning(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "0-0", "$"} {
		client := redistest.Shared().Client(t)
		key := ownKey(t)
		fanout := newFanout(t, client, key, start)
		missed := int64(0)
		fanout.Missed = func(n int64) { missed += n }
		added := add(t, client, key, 5)
		require.NoError(t, client.XTrimMaxLen(t.Context(), key, 2).Err())
		entries, err := fanout.Read(t.Context(), stream.Limit{Count: 10}, time.Millisecond)
		require.NoError(t, err)
		assert.Equal(t, added[3:], ids(entries), start)
		assert.EqualValues(t, 3, missed, start)
	}
}

func TestFanout_waitsForTheNextEntry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	fanout := newFanout(t, client, "stream", "0-0")
	result := make(chan []stream.Entry, 1)
	go func() {
		entries, err := fanout.Read(t.Context(), stream.Limit{Count: 10}, time.Minute)
		assert.NoError(t, err)
		result <- entries
	}()
	awaitBlocked(t, client, 1)
	added := add(t, client, "stream", 1)
	assert.Equal(t, added, ids(redistest.Within(t, "an entry", result)))
}

func TestFanout_failsOnAKeyThatIsNoStream(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	require.NoError(t, client.Set(t.Context(), key, "", 0).Err())
	_, err := stream.NewFanout(t.Context(), client, key, "0-0")
	require.ErrorContains(t, err, "WRONGTYPE")
	assert.False(t, stream.IsGroupGone(err))
	assert.NotErrorIs(t, err, redis.Nil)
}
