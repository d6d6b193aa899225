package stream

import (
	"slices"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The table of commands agrees with the server: each writes, runs in scripts, does not block, and
// has its keys where the table says.
func TestWrites_agreeWithTheServer(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	known, err := client.Command(t.Context()).Result()
	require.NoError(t, err)
	found := 0
	for name, write := range writesByName() {
		info, ok := known[name]
		if !ok {
			continue // a newer server has it
		}
		found++
		assert.True(t, slices.Contains(info.Flags, "write") || name == "publish", name)
		for _, flag := range []string{"noscript", "blocking", "admin"} {
			assert.NotContains(t, info.Flags, flag, name)
		}
		assert.EqualValues(t, info.Arity, write.words, name)
		if write.count == 0 {
			assert.Equal(t, keyShape{int(info.FirstKeyPos), int(info.LastKeyPos), int(info.StepCount), 0}, write.keyShape, name)
		}
	}
	assert.Greater(t, found, 70)
}

// For complete commands, the server finds the same keys.
func TestWrites_keys(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for _, words := range [][]any{
		{"set", "a", "1"},
		{"mset", "a", "1", "b", "2"},
		{"del", "a", []byte("b"), "c"},
		{"rename", "a", "b"},
		{"bitop", "and", "a", "b", "c"},
		{"zunionstore", "a", 2, "b", "c", "weights", 1, 2},
		{"zmpop", 2, "a", "b", "min"},
		{"xadd", "a", "maxlen", "~", 1, "*", "b", "c"},
	} {
		want, err := client.Do(t.Context(), append([]any{"command", "getkeys"}, words...)...).StringSlice()
		require.NoError(t, err)
		write, ok := writeOf(words[0].(string))
		require.True(t, ok)
		keys, err := write.keys(words)
		require.NoError(t, err)
		assert.Equal(t, want, keys, words[0])
	}
	write, _ := writeOf("publish")
	keys, err := write.keys([]any{"publish", "channel", "text"})
	require.NoError(t, err)
	assert.Empty(t, keys)
	write, _ = writeOf("zmpop")
	for _, n := range []any{0, 3, "x", -1} {
		_, err := write.keys([]any{"zmpop", n, "a", "min"})
		require.ErrorContains(t, err, "wrong number of keys")
	}
}

// The keys of a ring are on several servers, too.
func TestTransaction_ring(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": redistest.Shared().Addr}})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	tx := NewTransaction(ring)
	tx.Set(t.Context(), "{orders}:paid", 1, 0)
	require.NoError(t, tx.Prepare("orders"))
	tx.Set(t.Context(), "other", 1, 0)
	require.ErrorIs(t, tx.Prepare("orders"), ErrRefused)
}
