package connecting

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Without this check, a client of one node would fail with MOVED for many topics.
func TestConnect_nodeOfACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartFullCluster(t)
	for _, query := range []string{"", "?protocol=2&pool_size=7"} {
		client := fixture.ConnectTo(t, "redis://"+cluster.Nodes[1].Addr+query)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
		for i := range 20 {
			require.NoError(t, publisher.Publish(fmt.Sprintf("topic-%d", i), fixture.Numbered("a", 1)...))
		}
		require.IsType(t, &redis.ClusterClient{}, client)
		if query != "" {
			assert.Equal(t, 7, client.(*redis.ClusterClient).Options().PoolSize)
		}
	}
}

func TestConnect_nodeOfAClusterAlone(t *testing.T) {
	t.Parallel()
	server := redistest.StartCluster(t)
	assert.IsType(t, &redis.Client{}, fixture.ConnectTo(t, "redis://"+server.Addr+"?cluster=false"))
	assert.IsType(t, &redis.Client{}, fixture.ConnectTo(t, "redis://"+redistest.Shared().Addr))
	assert.IsType(t, &redis.Client{}, fixture.ConnectTo(t, "redis://"+miniredis.RunT(t).Addr()), "miniredis does not report its mode")
}

// Connect fails if the user may not read the slots, or if the connection (a unix socket, a
// database) can't be used with a cluster. The error tells that it is a cluster.
func TestConnect_nodeOfAClusterThatCannotBeUsedAsOne(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	server.Server = redistest.StartCluster(t)
	server.Password = ""
	b := server.NewBench(t)
	const want = "node of a cluster"
	_, err := redisstream.Connect(t.Context(), server.CreateUser(b, "publisher"))
	require.ErrorContains(t, err, want)
	require.ErrorContains(t, err, "cluster=false")
	require.ErrorContains(t, err, server.Addr)

	dir, err := os.MkdirTemp("", "socket-") // the path of t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "redis.sock")
	redistest.Start(t, "--cluster-enabled", "yes", "--unixsocket", socket)
	_, err = redisstream.Connect(t.Context(), "unix://"+socket)
	require.ErrorContains(t, err, want)
}
