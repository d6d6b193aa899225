package stream_test

import (
	"context"
	"net"
	"slices"
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
			require.NoError(t, fanout.CheckRights(t.Context(), false))
			assert.Equal(t, 2, trips.n)
			assert.Zero(t, client.Exists(t.Context(), key).Val())
			assert.Zero(t, client.Exists(t.Context(), needs.DeadLetters).Val())
		})
	}
}

// The rights to own a stream are asked for, and they are enough.
func TestCheckRights_owner(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	key := ownKey(t)
	add(t, admin, key, 1)
	join(t, admin, key, "a")
	// What a consumer needs, and then what an owner needs.
	rules := []any{
		"acl", "setuser", "owner", "reset", "on", ">secret", "~" + key, "+eval", "+evalsha", "+xgroup|create", "+xgroup|createconsumer", "+xgroup|setid",
		"+xreadgroup", "+xack", "+xclaim", "+xpending", "+xinfo|groups", "+xinfo|stream", "+xinfo|consumers",
	}
	owners := []any{"~" + ownerKey(key), "+time", "+hmget", "+hset", "+pexpire"}
	client := func(rules ...any) *redis.Client {
		require.NoError(t, admin.Do(t.Context(), rules...).Err())
		return server.Client(t, func(o *redis.Options) { o.Username, o.Password = "owner", "secret" })
	}
	for place := range owners {
		lacking := slices.Delete(slices.Concat(rules, owners), len(rules)+place, len(rules)+place+1)
		group := stream.NewGroup(client(lacking...), key, groupName, "a")
		err := group.CheckRights(t.Context(), stream.RequiredRights{Owner: ownerKey(key)})
		require.ErrorContains(t, err, "NOPERM the user lacks +", owners[place])
		require.ErrorContains(t, err, ownerKey(key), owners[place])
		require.NoError(t, group.CheckRights(t.Context(), stream.RequiredRights{}), "it need not own the stream")
	}

	user := client(slices.Concat(rules, owners)...)
	group := stream.NewGroup(user, key, groupName, "a")
	t.Cleanup(group.Close)
	require.NoError(t, group.CheckRights(t.Context(), stream.RequiredRights{Owner: ownerKey(key)}))
	o := own(t, user, group, key, "a")
	require.NoError(t, o.Renew(t.Context()))
	entries := read(t, group, 1)
	_, err := group.HasForeign(t.Context())
	require.NoError(t, err)
	require.NoError(t, group.Ack(t.Context(), ids(entries)))
	_, err = group.Release(t.Context(), stream.Release{Leaves: true})
	require.NoError(t, err)
	acquire(t, o)
	require.NoError(t, o.Release(t.Context()))
}
