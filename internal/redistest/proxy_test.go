package redistest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// through returns a client that connects through the proxy and has no time-outs.
func through(t *testing.T, proxy *redistest.Proxy) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: proxy.Addr, ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestProxy_Throttle(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := through(t, proxy)
	require.NoError(t, client.Ping(ctx).Err())
	const size = 200_000
	key := t.Name()
	proxy.Throttle(1_000_000)
	began := time.Now()
	require.NoError(t, client.Set(ctx, key, strings.Repeat("x", size), 0).Err())
	assert.GreaterOrEqual(t, time.Since(began), 190*time.Millisecond, "sent at the bandwidth")
	sent, _ := proxy.Carried()
	assert.GreaterOrEqual(t, sent, int64(size))

	began = time.Now()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { assert.NoError(t, client.Get(ctx, key).Err()) })
	}
	all.Wait()
	assert.GreaterOrEqual(t, time.Since(began), 390*time.Millisecond, "connections share the bandwidth")
	_, replied := proxy.Carried()
	assert.GreaterOrEqual(t, replied, int64(2*size))

	proxy.Throttle(1)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	require.Error(t, client.Get(short, key).Err())
	proxy.Throttle(0)
	require.NoError(t, client.Get(ctx, key).Err())
}

func TestProxy_Throttle_trickles(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	var mu sync.Mutex
	largest := 0
	proxy.OnReply(func(chunk []byte) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		largest = max(largest, len(chunk))
		return len(chunk), false
	})
	proxy.Throttle(1_000_000)
	client := through(t, proxy)
	require.NoError(t, redistest.Shared().Client(t).Set(ctx, t.Name(), strings.Repeat("x", 100_000), 0).Err())
	require.NoError(t, client.Get(ctx, t.Name()).Err())
	mu.Lock()
	defer mu.Unlock()
	assert.LessOrEqual(t, largest, 10_000, "the bytes of 10 ms")
}

func TestProxy_Hang(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := through(t, proxy)
	require.NoError(t, client.Ping(ctx).Err())
	proxy.Hang()
	pong := make(chan error, 2)
	for range cap(pong) { // one on the existing connection, one on a new one
		go func() { pong <- client.Ping(ctx).Err() }()
	}
	select {
	case err := <-pong:
		require.FailNow(t, "a reply while the proxy hangs", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	proxy.Resume()
	for range cap(pong) {
		require.NoError(t, redistest.Within(t, "a reply", pong))
	}
}

func TestProxy_Close_endsWhatHangs(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := through(t, proxy)
	require.NoError(t, client.Ping(context.Background()).Err())
	proxy.Throttle(1)
	proxy.Hang()
	pong := make(chan error, 2)
	for range cap(pong) {
		go func() { pong <- client.Ping(context.Background()).Err() }()
	}
	closed := make(chan error, 1)
	go func() {
		proxy.Close()
		closed <- nil
	}()
	require.NoError(t, redistest.Within(t, "the end of the proxy", closed))
	for range cap(pong) {
		require.Error(t, redistest.Within(t, "a reply", pong))
	}
}
