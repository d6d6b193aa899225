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

func ownerKey(key string) string { return "{" + key + "}:owner:" + groupName }

// longLease is a lease that does not end during a test.
const longLease = time.Hour

// acquire makes a consumer the owner of a stream.
func acquire(t *testing.T, o *stream.Ownership) int64 {
	t.Helper()
	state, err := o.Acquire(t.Context())
	require.NoError(t, err)
	require.True(t, state.Acquired)
	require.Zero(t, state.Wait)
	require.Equal(t, state.Generation, o.Generation())
	return state.Generation
}

// own makes the consumer of a group, whose name is given, its exclusive one.
func own(t *testing.T, client redis.UniversalClient, group *stream.Group, key, consumer string) *stream.Ownership {
	t.Helper()
	o := stream.NewOwnership(client, ownerKey(key), consumer, longLease)
	acquire(t, o)
	group.Own(o)
	return o
}

// endLease ends the lease of the owner on the server.
func endLease(t *testing.T, client redis.Cmdable, key string) {
	t.Helper()
	require.NoError(t, client.HSet(t.Context(), ownerKey(key), "until", 1).Err())
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	a := stream.NewOwnership(client, ownerKey(key), "a", longLease)
	b := stream.NewOwnership(client, ownerKey(key), "b", time.Second)
	assert.Zero(t, a.Generation())
	assert.Zero(t, a.Left())
	require.ErrorIs(t, a.Renew(t.Context()), stream.ErrNotOwner, "nobody is the owner")
	first := acquire(t, a)
	assert.InDelta(t, time.Now().UnixMilli(), first, 60_000)
	assert.InDelta(t, longLease.Seconds(), a.Left().Seconds(), 60)

	state, err := b.Acquire(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "a", state.Owner)
	assert.Equal(t, first, state.Generation)
	assert.False(t, state.Acquired)
	assert.InDelta(t, longLease.Seconds(), state.Wait.Seconds(), 60, "the lease is that of the owner")
	assert.Zero(t, b.Generation())
	require.ErrorIs(t, b.Renew(t.Context()), stream.ErrNotOwner)
	require.ErrorIs(t, b.Release(t.Context()), stream.ErrNotOwner)

	endLease(t, client, key)
	require.NoError(t, a.Renew(t.Context()), "nobody replaced the owner")
	state, err = b.Acquire(t.Context())
	require.NoError(t, err)
	assert.False(t, state.Acquired)

	endLease(t, client, key)
	second := acquire(t, b)
	assert.Greater(t, second, first)
	assert.LessOrEqual(t, b.Left(), time.Second)
	assert.Positive(t, a.Left(), "it has not heard of it")
	require.ErrorIs(t, a.Renew(t.Context()), stream.ErrNotOwner)
	assert.Zero(t, a.Left())
	require.ErrorIs(t, a.Release(t.Context()), stream.ErrNotOwner)
	require.NoError(t, b.Renew(t.Context()), "its release changed nothing")

	require.NoError(t, b.Release(t.Context()))
	assert.Zero(t, b.Left())
	require.ErrorIs(t, b.Renew(t.Context()), stream.ErrNotOwner)
	assert.Greater(t, acquire(t, a), second)
	assert.Positive(t, client.PTTL(t.Context(), ownerKey(key)).Val(), "it expires")
}
