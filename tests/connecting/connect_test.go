package connecting

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assertBusyPolls checks that a goroutine that waits for a reply busy-polls.
func assertBusyPolls(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	key := fixture.NewTopic(t) + ":list"
	reply := make(chan error, 1)
	name := make(chan string, 1) // such as "goroutine 42 ": other tests have readers too
	go func() {
		stack := make([]byte, 64)
		stack = stack[:runtime.Stack(stack, false)]
		name <- string(stack[:bytes.IndexByte(stack, '[')])
		reply <- client.BLPop(context.Background(), 0, key).Err()
	}()
	waiting := redistest.Within(t, "the goroutine", name)
	require.Eventually(t, func() bool {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return slices.ContainsFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
			return strings.HasPrefix(stack, waiting) && strings.Contains(stack, "internal/busypoll.(*conn).Read")
		})
	}, fixture.Soon, 10*time.Millisecond)
	require.NoError(t, client.RPush(t.Context(), key, "value").Err())
	require.NoError(t, redistest.Within(t, "the reply", reply))
}

func TestConnect_oneServer(t *testing.T) {
	t.Parallel()
	client := fixture.ConnectTo(t, "redis://"+redistest.Shared().Addr+"/3?pool_size=7&min_idle_conns=2&read_timeout=11s")
	require.IsType(t, &redis.Client{}, client)
	options := client.(*redis.Client).Options()
	assert.Equal(t, 3, options.DB)
	assert.Equal(t, 7, options.PoolSize)
	assert.Equal(t, 2, options.MinIdleConns)
	assert.Equal(t, 11*time.Second, options.ReadTimeout)
	require.Eventually(t, func() bool { return client.PoolStats().IdleConns >= 2 }, fixture.Soon, time.Millisecond)
	assertBusyPolls(t, fixture.ConnectTo(t, "redis://"+redistest.Shared().Addr))
}

func TestEnableBusyPolling_clientOfYourOwn(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"shard": redistest.Shared().Addr}})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	redisstream.EnableBusyPolling(ring)
	assertBusyPolls(t, ring)
}

func TestConnect_unixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "socket-") // the path of t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "redis.sock")
	server := redistest.Start(t, "--unixsocket", socket)
	client := fixture.ConnectTo(t, "unix://"+socket+"?db=2&pool_size=7")
	assert.Equal(t, 7, client.(*redis.Client).Options().PoolSize)
	size, err := server.Client(t, func(o *redis.Options) { o.DB = 2 }).DBSize(t.Context()).Result()
	require.NoError(t, err)
	assert.EqualValues(t, 1, size, "connected to the given server")
	assertBusyPolls(t, client)
}

func TestConnect_userAndPassword(t *testing.T) {
	t.Parallel()
	const password = "p@ss/w:rd?#%"
	server := redistest.Start(t, "--requirepass", password)
	admin := server.Client(t, func(o *redis.Options) { o.Password = password })
	require.NoError(t, admin.ACLSetUser(t.Context(), "alice", "on", ">secret", "~*", "+@all").Err())

	fixture.ConnectTo(t, "redis://:"+url.QueryEscape(password)+"@"+server.Addr)
	client := fixture.ConnectTo(t, "redis://alice:secret@"+server.Addr)
	name, err := client.Do(t.Context(), "ACL", "WHOAMI").Text()
	require.NoError(t, err)
	assert.Equal(t, "alice", name)
}

func TestConnect_cluster(t *testing.T) {
	t.Parallel()
	server := redistest.StartCluster(t)
	for name, query := range map[string]string{
		"cluster": "?cluster=true&pool_size=7&min_idle_conns=1",
		"addr":    "?addr=" + server.Addr + "&pool_size=7&min_idle_conns=1",
		"both":    "?addr=" + server.Addr + "&cluster=true&pool_size=7&min_idle_conns=1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := fixture.ConnectTo(t, "redis://"+server.Addr+query)
			require.IsType(t, &redis.ClusterClient{}, client)
			options := client.(*redis.ClusterClient).Options()
			assert.Equal(t, time.Second, options.ClusterStateReloadInterval)
			assert.Equal(t, 7, options.PoolSize)
			assert.Equal(t, 1, options.MinIdleConns)
			assertBusyPolls(t, fixture.ConnectTo(t, "redis://"+server.Addr+"?cluster=true"))
		})
	}
}

func TestConnect_sentinel(t *testing.T) {
	t.Parallel()
	const password = "secret"
	master := redistest.Start(t, "--requirepass", password)
	sentinel := redistest.StartSentinel(t, "mymaster", master, "sentinel auth-pass mymaster "+password)
	base := "redis://" + sentinel.Addr

	t.Run("the master", func(t *testing.T) {
		t.Parallel()
		client := fixture.ConnectTo(t, base+"?master_name=mymaster&password="+password+"&pool_size=7")
		require.IsType(t, &redis.Client{}, client)
		assert.Equal(t, 7, client.(*redis.Client).Options().PoolSize)
		size, err := master.Client(t, func(o *redis.Options) { o.Password = password }).DBSize(t.Context()).Result()
		require.NoError(t, err)
		assert.Positive(t, size, "connected to the given master")
	})
	t.Run("several sentinels", func(t *testing.T) {
		t.Parallel()
		assertBusyPolls(t, fixture.ConnectTo(t, "redis://127.0.0.1:1?addr="+sentinel.Addr+"&master_name=mymaster&password="+password))
	})
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		_, err := redisstream.Connect(t.Context(), base+"?master_name=mymaster&password=geheim")
		require.ErrorContains(t, err, sentinel.Addr)
		assert.ErrorContains(t, err, "WRONGPASS")
		assert.NotContains(t, err.Error(), "geheim")
	})
	t.Run("unknown master", func(t *testing.T) {
		t.Parallel()
		_, err := redisstream.Connect(t.Context(), base+"?master_name=other&password="+password)
		require.ErrorContains(t, err, sentinel.Addr)
		assert.ErrorContains(t, err, "other")
		assert.NotContains(t, err.Error(), password)
	})
}

func TestConnect_TLS(t *testing.T) {
	t.Parallel()
	addr := redistest.NewTLSProxy(t, redistest.Shared().Addr)
	client := fixture.ConnectTo(t, "rediss://"+addr+"?skip_verify=true")
	assert.NotNil(t, client.(*redis.Client).Options().TLSConfig)
}

func TestConnect_TLSVerifiesTheCertificate(t *testing.T) {
	t.Parallel()
	addr := redistest.NewTLSProxy(t, redistest.Shared().Addr)
	_, err := redisstream.Connect(t.Context(), "rediss://:geheim@"+addr+"?max_retries=-1")
	require.ErrorContains(t, err, addr)
	assert.ErrorContains(t, err, "certificate")
	assert.NotContains(t, err.Error(), "geheim")
}

func TestConnect_errorNamesThePlaceAndHidesThePassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "right")
	closed := fixture.ClosedPort(t)
	tests := map[string]struct {
		url   string
		names []string
	}{
		"nobody listens":                {"redis://user:geheim@" + closed + "?max_retries=-1", []string{closed, "refused"}},
		"nobody listens, password":      {"redis://:geheim@" + closed + "?max_retries=-1", []string{closed, "refused"}},
		"nobody listens, TLS":           {"rediss://:geheim@" + closed + "?max_retries=-1", []string{closed, "refused"}},
		"nobody listens, cluster":       {"redis://user:geheim@" + closed + "?cluster=true&dialer_retries=1", []string{closed, "refused"}},
		"nobody listens, sentinel":      {"redis://user:geheim@" + closed + "?master_name=a&password=geheim&dialer_retries=1&max_retries=-1", []string{closed}},
		"no such socket":                {"unix://user:geheim@/nowhere/redis.sock?max_retries=-1", []string{"/nowhere/redis.sock"}},
		"wrong password":                {"redis://:geheim@" + server.Addr, []string{server.Addr, "WRONGPASS"}},
		"wrong user":                    {"redis://user:geheim@" + server.Addr, []string{server.Addr, "WRONGPASS"}},
		"no password":                   {"redis://" + server.Addr, []string{server.Addr, "NOAUTH"}},
		"unknown scheme":                {"http://user:geheim@" + server.Addr, []string{server.Addr, "scheme", "http"}},
		"unknown scheme, cluster":       {"http://user:geheim@" + server.Addr + "?cluster=true", []string{server.Addr, "scheme", "http"}},
		"unknown scheme, sentinel":      {"http://user:geheim@" + server.Addr + "?master_name=a&password=geheim", []string{"scheme", "http"}},
		"no scheme":                     {server.Addr, []string{"malformed"}},
		"no scheme, with a password":    {"user:geheim@" + server.Addr, []string{"malformed"}},
		"no slashes":                    {"redis:user:geheim@" + server.Addr, []string{"malformed"}},
		"empty":                         {"", []string{"scheme"}},
		"unknown parameter":             {"redis://user:geheim@" + server.Addr + "?pool_sise=3", []string{server.Addr, "pool_sise"}},
		"unknown parameter, cluster":    {"redis://user:geheim@" + server.Addr + "?cluster=true&pool_sise=3", []string{server.Addr, "pool_sise"}},
		"unknown parameter, sentinel":   {"redis://user:geheim@" + server.Addr + "?master_name=a&password=geheim&pool_sise=3", []string{server.Addr, "pool_sise"}},
		"password in a wrong place":     {"redis://" + server.Addr + "?password=geheim", []string{server.Addr, "password"}},
		"sentinel's password":           {"redis://" + server.Addr + "?master_name=a&sentinel_password=geheim", []string{server.Addr, "sentinel_password"}},
		"bad value":                     {"redis://user:geheim@" + server.Addr + "?pool_size=many", []string{server.Addr, "pool_size"}},
		"bad value of cluster":          {"redis://user:geheim@" + server.Addr + "?cluster=perhaps", []string{server.Addr, "cluster"}},
		"bad database":                  {"redis://user:geheim@" + server.Addr + "/orders", []string{server.Addr, "database"}},
		"bad address of a node":         {"redis://user:geheim@" + server.Addr + "?addr=nowhere", []string{server.Addr, "nowhere"}},
		"password in a node's address":  {"redis://" + server.Addr + "?addr=user:geheim@" + server.Addr, []string{"malformed"}},
		"several nodes, nobody listens": {"redis://" + closed + "?dialer_retries=1&addr=127.0.0.1:1", []string{closed, "127.0.0.1:1", "refused"}},
		"port is no number":             {"redis://user:geheim@127.0.0.1:port", []string{"malformed"}},
		"password with a slash":         {"redis://user:geheim/geheim@" + server.Addr, []string{"malformed"}},
		"password with digits, slash":   {"redis://user:12/geheim@" + server.Addr, []string{"malformed"}},
		"password with a hash":          {"redis://user:geheim#geheim@" + server.Addr, []string{"malformed"}},
		"password with digits, hash":    {"redis://user:12#geheim@" + server.Addr, []string{"malformed"}},
		"password with digits, query":   {"redis://user:12?geheim@" + server.Addr, []string{"malformed"}},
		"password with a percent":       {"redis://user:ge%heim@" + server.Addr, []string{"malformed"}},
		"password with %zz":             {"redis://user:geheim%zz@" + server.Addr, []string{"malformed"}},
		"password with a space":         {"redis://user:ge heim@" + server.Addr, []string{"malformed"}},
		"password with a newline":       {"redis://user:geheim\n@" + server.Addr, []string{"malformed"}},
		"bracket not closed":            {"redis://user:geheim@[::1", []string{"malformed"}},
		"password with a bracket":       {"redis://user:geheim[geheim@" + server.Addr, []string{"malformed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := redisstream.Connect(t.Context(), test.url)
			require.Error(t, err)
			assert.Nil(t, client)
			for _, want := range test.names {
				assert.ErrorContains(t, err, want)
			}
			for _, secret := range []string{"geheim", "heim", "%he", "%zz"} {
				assert.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestConnect_respectsTheContext(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{}, 100)
	addr := fixture.Serve(t, func(conn net.Conn) { // reads all commands and never answers
		if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
			heard <- struct{}{}
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	urls := map[string]string{
		"one server": "redis://:geheim@" + addr + "?read_timeout=60s",
		"TLS":        "rediss://:geheim@" + addr + "?read_timeout=60s",
		"cluster":    "redis://:geheim@" + addr + "?read_timeout=60s&cluster=true",
		"sentinel":   "redis://:geheim@" + addr + "?read_timeout=60s&master_name=mymaster&max_retries=-1&dialer_retries=1",
	}
	for name, rawURL := range urls {
		t.Run(name+", deadline", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			result := make(chan error, 1)
			go func() {
				_, err := redisstream.Connect(ctx, rawURL)
				result <- err
			}()
			err := redistest.Within(t, "Connect", result)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.ErrorContains(t, err, addr)
			assert.NotContains(t, err.Error(), "geheim")
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		result := make(chan error, 1)
		go func() {
			_, err := redisstream.Connect(ctx, urls["one server"])
			result <- err
		}()
		redistest.Within(t, "a connection", heard)
		cancel()
		require.ErrorIs(t, redistest.Within(t, "Connect", result), context.Canceled)
	})
}

func TestConnect_contextOfTheClientsLifeIsNotTheCallers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	client, err := redisstream.Connect(ctx, "redis://"+redistest.Shared().Addr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	cancel()
	for range 5 {
		require.NoError(t, client.Ping(t.Context()).Err())
	}
}
