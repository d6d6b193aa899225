package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// offset returns by how much a server's clock differs from the machine's.
func offset(t *testing.T, client *redis.Client) time.Duration {
	t.Helper()
	now, err := client.Time(context.Background()).Result()
	require.NoError(t, err)
	return time.Until(now)
}

func TestSetClock(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := redistest.StartWithClock(t, -2*time.Hour, redistest.Durable...)
	client := server.Client(t)
	assert.InDelta(t, -2*time.Hour, offset(t, client), float64(time.Minute))
	early, err := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"f", "v"}}).Result()
	require.NoError(t, err)

	require.NoError(t, server.SetClock(time.Hour))
	assert.InDelta(t, time.Hour, offset(t, client), float64(time.Minute))
	late, err := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"f", "v"}}).Result()
	require.NoError(t, err)
	assert.Less(t, early, late, "IDs come from the server's clock")

	blocked := time.Now()
	assert.Equal(t, redis.Nil, client.XRead(ctx, &redis.XReadArgs{Streams: []string{"s", "$"}, Block: 50 * time.Millisecond}).Err())
	assert.Less(t, time.Since(blocked), redistest.Soon, "timers are not affected")
}

func TestSetClock_survivesRestart(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t, time.Hour, redistest.Durable...)
	client := server.Client(t)
	server.Kill()
	server.Restart(t)
	assert.InDelta(t, time.Hour, offset(t, client), float64(time.Minute))
	server.Kill()
	require.NoError(t, server.SetClock(-time.Hour), "the server is not running")
	server.Restart(t)
	assert.InDelta(t, -time.Hour, offset(t, client), float64(time.Minute))
}

func TestSetClock_withoutClock(t *testing.T) {
	t.Parallel()
	require.Error(t, redistest.Shared().SetClock(time.Hour))
	assert.InDelta(t, 0, offset(t, redistest.Shared().Client(t)), float64(time.Minute))
}
