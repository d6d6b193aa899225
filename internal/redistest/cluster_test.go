package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStartMasters(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var outside redistest.Outside
	defer outside.Close()
	var cluster *redistest.Cluster
	require.NoError(t, outside.Try(func(tb testing.TB) {
		tb.Helper()
		cluster = redistest.StartMasters(tb, [3]time.Duration{-time.Hour, 0, time.Hour}, redistest.Durable...)
	}))
	assert.InDelta(t, time.Hour, offset(t, cluster.Nodes[2].Client(t)), float64(time.Minute))
	client := cluster.Client(t)
	const key = "topic"
	require.NoError(t, client.Set(ctx, key, "value", 0).Err())
	for range 3 { // there and back
		require.NoError(t, outside.Try(func(tb testing.TB) {
			tb.Helper()
			cluster.AwaitReady(tb)
			cluster.MoveSlot(tb, key, cluster.Other(tb, key))
		}))
		require.Equal(t, "value", client.Get(ctx, key).Val())
	}
	owner := cluster.Master(t, key)
	owner.Kill()
	owner.Restart(t)
	require.Eventually(t, func() bool { return client.Get(ctx, key).Val() == "value" }, redistest.Soon, 10*time.Millisecond)
}

func TestOutside(t *testing.T) {
	t.Parallel()
	var outside redistest.Outside
	cleaned := ""
	err := outside.Try(func(tb testing.TB) {
		tb.Helper()
		tb.Cleanup(func() { cleaned += "second" })
		tb.Cleanup(func() { cleaned += "first " })
		tb.Fatalf("failed: %d", 7)
	})
	require.EqualError(t, err, "failed: 7")
	outside.Close()
	outside.Close()
	assert.Equal(t, "first second", cleaned)
}
