package stream_test

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readResult is the result of a read in another goroutine.
type readResult struct {
	entries []stream.Entry
	err     error
}

func reading(group *stream.Group, count int, block time.Duration) <-chan readResult {
	result := make(chan readResult, 1)
	go func() {
		entries, err := group.Read(context.Background(), stream.Limit{Count: count}, block)
		result <- readResult{entries, err}
	}()
	return result
}

// clientsOfAllKinds returns clients of servers, to which they connect in different ways.
func clientsOfAllKinds(t *testing.T) map[string]redis.UniversalClient {
	t.Helper()
	dir, err := os.MkdirTemp("", "socket-") // t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "redis.sock")
	server := redistest.Start(t, "--requirepass", "secret", "--unixsocket", socket)
	cluster := redistest.StartCluster(t)
	sentinel := redistest.StartSentinel(t, "mymaster", server, "sentinel auth-pass mymaster secret")
	return map[string]redis.UniversalClient{
		"one server": redis.NewClient(&redis.Options{Addr: server.Addr, Password: "secret", DB: 3}),
		"RESP2":      redis.NewClient(&redis.Options{Addr: server.Addr, Password: "secret", Protocol: 2}),
		"socket":     redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Password: "secret"}),
		"TLS": redis.NewClient(&redis.Options{
			Addr: redistest.NewTLSProxy(t, server.Addr), Password: "secret",
			TLSConfig: &tls.Config{InsecureSkipVerify: true},
		}),
		"sentinel": redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "mymaster", SentinelAddrs: []string{sentinel.Addr}, Password: "secret",
		}),
		"cluster": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cluster.Addr}}),
		"ring": redis.NewRing(&redis.RingOptions{
			Addrs: map[string]string{"one": server.Addr}, Password: "secret",
		}),
		"embedded": struct{ *redis.Client }{redis.NewClient(&redis.Options{Addr: server.Addr, Password: "secret"})},
	}
}

func TestConn_dialsAsTheUsersClientDoes(t *testing.T) {
	t.Parallel()
	for name, client := range clientsOfAllKinds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			require.NoError(t, stream.Supported(client))
			key := ownKey(t)
			added := add(t, client, key, 2)
			group := join(t, client, key, "a")
			assert.Equal(t, added[:1], ids(read(t, group, 1)))
			group.Reset(t.Context())
			assert.Equal(t, added[1:], ids(read(t, group, 1)), "on a new connection")

			blocked := reading(group, 1, time.Minute)
			more := add(t, client, key, 1)
			result := redistest.Within(t, "the entry", blocked)
			require.NoError(t, result.err)
			assert.Equal(t, more, ids(result.entries))

			blocked = reading(group, 1, time.Minute)
			group.Interrupt()
			result = redistest.Within(t, "the end of the read", blocked)
			require.Error(t, result.err)
			assert.Empty(t, result.entries)
			lost, _, err := group.RenewLeases(t.Context(), []stream.Lease{{ID: added[0], Deliveries: 1}})
			require.NoError(t, err, "what is on the user's client goes on")
			assert.Empty(t, lost)
			group.Close()
		})
	}
}

func TestConn_blockedReadHoldsNothingOfTheUsersPool(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	client := server.Client(t, func(o *redis.Options) { o.PoolSize, o.PoolTimeout, o.PipelinePoolSize = 1, time.Second, -1 })
	var blocked []<-chan readResult
	for range 3 {
		group := join(t, client, "stream", "a")
		blocked = append(blocked, reading(group, 1, time.Minute))
	}
	awaitBlocked(t, admin, 3)
	require.NoError(t, client.Ping(t.Context()).Err())
	add(t, client, "stream", 3)
	for _, result := range blocked {
		assert.Len(t, redistest.Within(t, "an entry", result).entries, 1)
	}
}

func TestConn_readWithoutEntriesEndsAfterItsBlock(t *testing.T) {
	t.Parallel()
	group := join(t, redistest.Shared().Client(t), ownKey(t), "a")
	for _, block := range []time.Duration{-1, 0, 1, time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		began := time.Now()
		result := redistest.Within(t, "the end of the block", reading(group, 1, block))
		require.NoError(t, result.err, block)
		assert.Empty(t, result.entries)
		assert.GreaterOrEqual(t, time.Since(began), block)
	}
}

// A server checks its clock 10 times a second or less, so a block may end that much later. A client
// with a shorter ReadTimeout still waits for it.
func TestConn_idleReadsWithAShortReadTimeout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--hz", "2")
	client := server.Client(t, func(o *redis.Options) { o.ReadTimeout = 90 * time.Millisecond })
	key := ownKey(t)
	group := stream.NewGroup(client, key, groupName, "a")
	t.Cleanup(group.Close)
	add(t, server.Client(t), key, 1)
	one := stream.Limit{Count: 1}
	connected := func(_ []stream.Entry, err error) bool { return err == nil } // slow machine
	require.Eventually(t, func() bool { return group.Join(t.Context(), "0") == nil }, soon, time.Millisecond)
	var fanout *stream.Fanout
	require.Eventually(t, func() bool {
		var err error
		fanout, err = stream.NewFanout(t.Context(), client, key, "0")
		return err == nil
	}, soon, time.Millisecond)
	t.Cleanup(fanout.Close)
	require.Eventually(t, func() bool { return connected(group.Read(t.Context(), one, time.Millisecond)) }, soon, time.Millisecond)
	require.Eventually(t, func() bool { return connected(fanout.Read(t.Context(), one, time.Millisecond)) }, soon, time.Millisecond)
	for _, block := range []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 130 * time.Millisecond} {
		_, err := group.Read(t.Context(), one, block)
		assert.NoError(t, err, "group, block %s", block)
		_, err = fanout.Read(t.Context(), one, block)
		assert.NoError(t, err, "fan-out, block %s", block)
	}
}

func TestConn_silentServerEndsAReadSoonAfterItsBlock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t, func(o *redis.Options) { o.ReadTimeout = time.Second })
	group := join(t, client, "stream", "a")
	read(t, group, 1)
	server.Pause()
	defer server.Resume()
	began := time.Now()
	result := redistest.Within(t, "the end of the read", reading(group, 1, 50*time.Millisecond))
	require.Error(t, result.err)
	assert.GreaterOrEqual(t, time.Since(began), 1050*time.Millisecond)
	assert.Less(t, time.Since(began), 5*time.Second, "go-redis waits for ten seconds")
}

func TestConn_interruptBeforeTheFirstReadDialsNothing(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := redistest.Shared().Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	group := stream.NewGroup(client, ownKey(t), groupName, "a")
	group.Interrupt()
	group.Interrupt()
	require.Error(t, redistest.Within(t, "the end of the read", reading(group, 1, time.Minute)).err)
	group.Close()
	group.Close()
	require.Error(t, redistest.Within(t, "the end of the read", reading(group, 1, time.Minute)).err)
	assert.Zero(t, proxy.Accepted())
}

func TestConn_interruptEndsAReadFromASilentServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	group := join(t, client, "stream", "a")
	blocked := reading(group, 1, time.Minute)
	awaitBlocked(t, client, 1)
	server.Pause()
	defer server.Resume()
	began := time.Now()
	group.Interrupt()
	require.Error(t, redistest.Within(t, "the end of the read", blocked).err)
	assert.Less(t, time.Since(began), 5*time.Second)
}

// spin waits for a time that is too short for a timer.
func spin(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		runtime.Gosched()
	}
}

// Interrupt races with an entry: the server has either handed it to us already, or never will.
func TestConn_interruptRacesWithEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "no")
	client := server.Client(t)
	for name, options := range map[string]*redis.Options{
		"plain": {Addr: server.Addr},
		"TLS": {
			Addr:      redistest.NewTLSProxy(t, server.Addr),
			TLSConfig: &tls.Config{InsecureSkipVerify: true},
		},
	} {
		shared := redis.NewClient(options)
		t.Cleanup(func() { require.NoError(t, shared.Close()) })
		var replied, lost, none int
		for range 200 {
			key := ownKey(t)
			group := join(t, shared, key, "a")
			group.SetGrace(soon) // slow servers are not tested here
			blocked := reading(group, 10, time.Minute)
			awaitBlocked(t, client, 1)

			began := time.Now()
			var all sync.WaitGroup
			all.Go(func() {
				spin(rand.N(300 * time.Microsecond))
				add(t, client, key, 3)
			})
			all.Go(func() {
				spin(rand.N(300 * time.Microsecond))
				group.Interrupt()
			})
			result := redistest.Within(t, "the end of the read", blocked)
			assigned := pending(t, client, key)
			assert.Less(t, time.Since(began), 5*time.Second)
			for _, entry := range result.entries {
				require.Contains(t, assigned, entry.ID, "what came is ours")
			}
			all.Wait()
			add(t, client, key, 2)
			require.Equal(t, assigned, pending(t, client, key), "the server hands out nothing more: %v", result.err)
			group.Close()
			switch {
			case len(result.entries) > 0:
				replied++
			case len(assigned) > 0:
				lost++
			default:
				none++
			}
		}
		t.Logf("%s: %d reads had entries, %d lost them, %d had none", name, replied, lost, none)
	}
}
