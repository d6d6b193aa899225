package redisstream

import (
	"runtime"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// embedding is a user's type that embeds a client of go-redis.
type embedding struct{ *redis.Client }

func TestPollerOf_eachClientHasItsOwn(t *testing.T) {
	t.Parallel()
	for name, newClient := range map[string]func() redis.UniversalClient{
		"client": func() redis.UniversalClient { return redis.NewClient(&redis.Options{}) },
		"cluster": func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"a:1"}})
		},
		"ring":    func() redis.UniversalClient { return redis.NewRing(&redis.RingOptions{}) },
		"wrapped": func() redis.UniversalClient { return embedding{redis.NewClient(&redis.Options{})} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := newClient(), newClient()
			t.Cleanup(func() { require.NoError(t, one.Close()) })
			t.Cleanup(func() { require.NoError(t, other.Close()) })
			poller := pollerOf(one)
			assert.Same(t, poller, pollerOf(one))
			assert.NotSame(t, poller, pollerOf(other))
		})
	}
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	assert.Same(t, pollerOf(client), pollerOf(embedding{client}))
}

// The registry does not keep clients alive.
func TestPollerOf_forgetsClients(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	EnableBusyPolling(client)
	poller := pollerOf(client)
	known := func() (found bool) {
		pollers.Range(func(_, value any) bool {
			found = found || value == any(poller)
			return !found
		})
		return found
	}
	assert.True(t, known())
	require.NoError(t, client.Close())
	client = nil
	_ = client
	require.Eventually(t, func() bool {
		runtime.GC()
		return !known()
	}, redistest.Soon, time.Millisecond)
}
