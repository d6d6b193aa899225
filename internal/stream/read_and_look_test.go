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

// A read that blocks longer than the client waits for other replies tells whether the group is paused
// when it ends, with and without entries.
func TestReadAndLook(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		t.Run(map[int]string{2: "RESP 2", 3: "RESP 3"}[protocol], func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			admin := server.Client(t)
			client := server.Client(t, func(o *redis.Options) { o.Protocol, o.ReadTimeout = protocol, 500*time.Millisecond })
			key, pause := ownKey(t), ownKey(t)+":pause"
			group := join(t, client, key, "a")
			group.LookForPause(pause)

			entries, paused, err := group.ReadAndLook(t.Context(), stream.Limit{Count: 5}, 1200*time.Millisecond)
			require.NoError(t, err)
			assert.Empty(t, entries)
			assert.False(t, paused)

			for _, isPaused := range []bool{true, false} {
				type result struct {
					entries []stream.Entry
					paused  bool
					err     error
				}
				results := make(chan result)
				go func() {
					entries, paused, err := group.ReadAndLook(t.Context(), stream.Limit{Count: 5}, time.Minute)
					results <- result{entries, paused, err}
				}()
				awaitBlocked(t, admin, 1)
				if isPaused {
					require.NoError(t, admin.Set(t.Context(), pause, "{}", 0).Err())
				} else {
					require.NoError(t, admin.Del(t.Context(), pause).Err())
				}
				added := add(t, admin, key, 1)
				got := <-results
				require.NoError(t, got.err)
				assert.Equal(t, added, ids(got.entries))
				assert.Equal(t, isPaused, got.paused)
			}

			require.NoError(t, admin.Set(t.Context(), pause, "{}", 0).Err())
			entries, paused, err = group.ReadAndLook(t.Context(), stream.Limit{Count: 5}, time.Millisecond)
			require.NoError(t, err)
			assert.Empty(t, entries)
			assert.True(t, paused)
		})
	}
}

// A user who lost the right to look is not paused, and reads.
func TestReadAndLook_withoutTheRight(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	key := ownKey(t)
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "reader", "on", ">secret", "~"+key, "+@all").Err())
	client := server.Client(t, func(o *redis.Options) { o.Username, o.Password = "reader", "secret" })
	group := join(t, client, key, "a")
	group.LookForPause(key + ":pause")
	require.NoError(t, admin.Set(t.Context(), key+":pause", "{}", 0).Err())
	added := add(t, admin, key, 1)
	entries, paused, err := group.ReadAndLook(t.Context(), stream.Limit{Count: 5}, time.Second)
	require.NoError(t, err)
	assert.Equal(t, added, ids(entries))
	assert.False(t, paused)
}
