package stream_test

import (
	"context"
	"net"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roundTrips is a hook that counts commands.
type roundTrips struct{ n int }

func (r *roundTrips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (r *roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		r.n++
		return next(ctx, command)
	}
}

func (r *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// All rights are checked in one round trip, and no command is run.
func TestCheckRights(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*redistest.Server{"one server": redistest.Shared(), "cluster": redistest.StartCluster(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var client redis.UniversalClient = server.Client(t)
			if name == "cluster" {
				client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}})
				t.Cleanup(func() { _ = client.Close() })
			}
			key := ownKey(t)
			group := stream.NewGroup(client, key, groupName, "a")
			fanout := newFanout(t, client, key, "0")
			needs := stream.RequiredRights{DeadLetters: "in another slot", Removed: true}
			require.NoError(t, group.CheckRights(t.Context(), needs)) // loads the script

			var trips roundTrips
			client.AddHook(&trips)
			require.NoError(t, group.CheckRights(t.Context(), needs))
			assert.Equal(t, 1, trips.n)
			require.NoError(t, fanout.CheckRights(t.Context()))
			assert.Equal(t, 2, trips.n)
			assert.Zero(t, client.Exists(t.Context(), key).Val())
			assert.Zero(t, client.Exists(t.Context(), needs.DeadLetters).Val())
		})
	}
}
