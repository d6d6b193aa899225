package inspecting

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newAdmin returns an Admin with the client of the Bench.
func newAdmin(b *fixture.Bench) *admin.Admin {
	b.Helper()
	a, err := admin.New(admin.Config{Client: b.Client})
	require.NoError(b, err)
	return a
}

// countUnread counts what a group has not got, by reading all.
func countUnread(b *fixture.Bench, position string) int64 {
	b.Helper()
	entries, err := b.Client.XRange(b.Context(), b.Topic, "("+position, "+").Result()
	require.NoError(b, err)
	return int64(len(entries))
}

// The lag is right, or an upper bound, whatever is done to a stream. The server's own number is not.
func TestLag_isNeverWrong(t *testing.T) {
	t.Parallel()
	for round := range 60 {
		b := fixture.New(t)
		a := newAdmin(b)
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, uint64(round)))
		var history []string
		b.Do("XGROUP", "CREATE", b.Topic, "g", "0", "MKSTREAM")
		b.Do("XGROUP", "CREATE", b.Topic, "late", "$")
		for range 40 {
			history = append(history, step(b, random))
			groups, err := a.Groups(t.Context(), b.Topic)
			require.NoError(t, err)
			for _, g := range groups {
				want := countUnread(b, g.Position)
				switch g.Lag.Exact {
				case admin.LagExact:
					require.Equal(t, want, g.Lag.N, "%s, seed %d, %v", g.Name, seed, history)
				case admin.LagAtMost:
					require.GreaterOrEqual(t, g.Lag.N, want, "%s, seed %d, %v", g.Name, seed, history)
				case admin.LagUnknown:
					t.Fatalf("%s: the length of the stream is a bound", g.Name)
				}
			}
		}
	}
}

// step does something to the stream at random, and returns what.
func step(b *fixture.Bench, random *rand.Rand) string {
	b.Helper()
	entries, err := b.Client.XRange(b.Context(), b.Topic, "-", "+").Result()
	require.NoError(b, err)
	one := "5-5"
	if len(entries) > 0 {
		one = entries[random.IntN(len(entries))].ID
	}
	group := []string{"g", "late"}[random.IntN(2)]
	var command []any
	switch kind := random.IntN(12); {
	case kind < 4:
		pipe := b.Client.Pipeline()
		n := 1 + random.IntN(150)
		for i := range n {
			pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []any{"data", i}})
		}
		_, err := pipe.Exec(b.Context())
		require.NoError(b, err)
		return fmt.Sprint("add ", n)
	case kind < 7:
		command = []any{"XREADGROUP", "GROUP", group, "c", "COUNT", 1 + random.IntN(100), "STREAMS", b.Topic, ">"}
	case kind < 9:
		command = []any{"XDEL", b.Topic, one}
	case kind == 9:
		command = []any{"XTRIM", b.Topic, "MAXLEN", []any{"~", "="}[random.IntN(2)], random.IntN(len(entries) + 1)}
	case kind == 10:
		command = []any{"XTRIM", b.Topic, "MINID", one}
	default:
		info, err := b.Client.XInfoStream(b.Context(), b.Topic).Result()
		require.NoError(b, err)
		// A wrong ENTRIESREAD is the one thing that makes a lag wrong: nobody can tell.
		command = []any{"XGROUP", "SETID", b.Topic, group}
		command = append(command, [][]any{{"0"}, {"$"}, {one}, {"0", "ENTRIESREAD", 0}, {"$", "ENTRIESREAD", info.EntriesAdded}}[random.IntN(5)]...)
	}
	if err := b.Client.Do(b.Context(), command...).Err(); err != nil {
		assert.ErrorIs(b, err, redis.Nil, "%v", command)
	}
	return fmt.Sprint(command...)
}

// Counting ends at a bound. Up to it a lag is exact from both ends.
func TestLag_large(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	const n = 30_000
	fill(b, addEntries, n, b.Topic)
	at := func(i int64) string {
		entries, err := b.Client.XRangeN(b.Context(), b.Topic, "-", "+", i).Result()
		require.NoError(b, err)
		return entries[i-1].ID
	}
	old, middle, recent := at(3000), at(15_000), at(28_000)
	for name, id := range map[string]string{"old": old, "middle": middle, "recent": recent} {
		b.Do("XGROUP", "CREATE", b.Topic, name, id, "ENTRIESREAD", 5) // the lag of the server is too high
	}
	b.Do("XDEL", b.Topic, at(10))
	check := func(name string, want admin.Lag) {
		g, err := a.Group(t.Context(), b.Topic, name)
		require.NoError(t, err)
		if want.Exact == admin.LagExact && g.Lag.Exact == admin.LagAtMost { // the machine is slow: 50 ms were over
			assert.GreaterOrEqual(t, g.Lag.N, want.N, name)
			return
		}
		assert.Equal(t, want.Exact, g.Lag.Exact, name)
		if want.Exact == admin.LagExact {
			assert.Equal(t, want.N, g.Lag.N, name)
		}
		assert.GreaterOrEqual(t, g.Lag.N, countUnread(b, g.Position), name)
		assert.Less(t, g.Lag.N, int64(n), name)
	}
	check("old", admin.Lag{N: n - 3000, Exact: admin.LagExact})
	check("middle", admin.Lag{N: n - 15_000, Exact: admin.LagAtMost})
	check("recent", admin.Lag{N: 2000, Exact: admin.LagExact})
	b.Do("XDEL", b.Topic, at(20_000)) // behind the position: the server's number is no bound
	check("middle", admin.Lag{N: n - 15_001, Exact: admin.LagAtMost})
}
