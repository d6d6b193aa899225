package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sharing returns a consumer that reads on shared connections.
func sharing(t *testing.T, conns *stream.ReadConns, client redis.UniversalClient, key string) *stream.Group {
	t.Helper()
	group := join(t, client, key, "a")
	group.Share(conns)
	t.Cleanup(group.Close)
	return group
}

func newReadConns(t *testing.T, client redis.UniversalClient) *stream.ReadConns {
	t.Helper()
	conns := stream.NewReadConns(client, 2, func(addr string, err error) { t.Log(addr, err) })
	t.Cleanup(conns.Close)
	return conns
}

func TestSharedConn_dialsAsTheUsersClientDoes(t *testing.T) {
	t.Parallel()
	for name, client := range clientsOfAllKinds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			conns := newReadConns(t, client)
			key := ownKey(t)
			require.NoError(t, conns.Check(t.Context(), key))
			group := sharing(t, conns, client, key)
			for range 3 {
				waiting := reading(group, 1, time.Minute)
				added := add(t, client, key, 1)
				result := redistest.Within(t, "the entry", waiting)
				require.NoError(t, result.err)
				assert.Equal(t, added, ids(result.entries))
			}
			waiting := reading(group, 1, time.Minute)
			group.Interrupt()
			require.Error(t, redistest.Within(t, "the end of the read", waiting).err)
		})
	}
}

// Many readers on one connection: each gets its own entries, errors and silence.
func TestSharedConn_pipelines(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	conns := newReadConns(t, client)
	const readers = 40
	var groups []*stream.Group
	var added [][]string
	for i := range readers {
		key := ownKey(t)
		groups = append(groups, sharing(t, conns, client, key))
		added = append(added, add(t, client, key, i%4))
		if i%4 == 3 {
			require.NoError(t, client.Del(t.Context(), key).Err())
		}
	}
	var results []<-chan readResult
	for _, group := range groups {
		result := make(chan readResult, 1)
		go func() {
			entries, err := group.Read(context.Background(), stream.Limit{Count: 10, Bytes: 1 << 20}, time.Millisecond)
			result <- readResult{entries, err}
		}()
		results = append(results, result)
	}
	for i, result := range results {
		got := redistest.Within(t, "a result", result)
		if i%4 == 3 {
			require.True(t, stream.IsGroupGone(got.err), "%v", got.err)
			continue
		}
		require.NoError(t, got.err)
		assert.Equal(t, added[i], append([]string{}, ids(got.entries)...))
	}
}

// An entry that is larger than what readers share comes, too.
func TestSharedConn_largeEntries(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	group := sharing(t, newReadConns(t, client), client, key)
	const large = 9 << 20
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{"f", make([]byte, large)}}).Err())
	entries, err := group.Read(t.Context(), stream.Limit{Count: 1, Bytes: 1 << 20}, time.Second)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Greater(t, entries[0].Size(), large)
	added := add(t, client, key, 1)
	assert.Equal(t, added, ids(read(t, group, 1)))
}

// A server that knows no protocol 3 is refused.
func TestSharedConn_checkRefusesOldServers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "HELLO", "")
	client := server.Client(t, func(o *redis.Options) { o.Protocol = 2 })
	require.Error(t, newReadConns(t, client).Check(t.Context(), "stream"))
}
