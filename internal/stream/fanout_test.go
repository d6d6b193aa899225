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

func TestLastID(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	last, err := stream.LastID(t.Context(), client, key)
	require.NoError(t, err)
	assert.Equal(t, "0-0", last, "no stream")

	added := add(t, client, key, 3)
	last, err = stream.LastID(t.Context(), client, key)
	require.NoError(t, err)
	assert.Equal(t, added[2], last)

	require.NoError(t, client.XDel(t.Context(), key, added[2]).Err())
	require.NoError(t, client.XTrimMaxLen(t.Context(), key, 0).Err())
	last, err = stream.LastID(t.Context(), client, key)
	require.NoError(t, err)
	assert.Equal(t, added[2], last, "an empty stream remembers")

	require.NoError(t, client.Set(t.Context(), key, "", 0).Err())
	_, err = stream.LastID(t.Context(), client, key)
	assert.ErrorContains(t, err, "WRONGTYPE")
}

func TestFanout_readsEveryEntryOnceInOrder(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	old := add(t, client, key, 2)
	fanout := stream.NewFanout(client, key, old[0])
	t.Cleanup(fanout.Close)
	added := add(t, client, key, 10)
	want := slices.Concat(old[1:], added)
	var got []string
	for range 20 {
		entries, err := fanout.Read(t.Context(), stream.Limit{Count: 3}, time.Millisecond)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(entries), 3)
		for _, entry := range entries {
			assert.EqualValues(t, 1, entry.Deliveries)
			assert.Contains(t, entry.Fields, "n")
		}
		got = append(got, ids(entries)...)
		fanout.Reset(t.Context()) // a new connection goes on where the old one was
	}
	assert.Equal(t, want, got)
}

func TestFanout_waitsForTheNextEntry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	fanout := stream.NewFanout(client, "stream", "0-0")
	t.Cleanup(fanout.Close)
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
	fanout := stream.NewFanout(client, key, "0-0")
	t.Cleanup(fanout.Close)
	_, err := fanout.Read(t.Context(), stream.Limit{Count: 1}, time.Millisecond)
	require.ErrorContains(t, err, "WRONGTYPE")
	assert.False(t, stream.IsGroupGone(err))
	assert.NotErrorIs(t, err, redis.Nil)
}
