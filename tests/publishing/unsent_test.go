package publishing

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errNoWay = errors.New("no way to the server")

// A message that fails before the command is written is certainly not added. A Publish with a
// deadline waits for the end of such a failure.
func TestPublish_failsForCertainBeforeTheCommandIsWritten(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(t *testing.T, server *redistest.Server, options *redis.Options, ended *atomic.Bool)
		args   []string
	}{
		"dialer of the user": {change: func(_ *testing.T, _ *redistest.Server, options *redis.Options, ended *atomic.Bool) {
			options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if !ended.Load() {
					return nil, errNoWay
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		}},
		"credentials provider": {change: func(_ *testing.T, _ *redistest.Server, options *redis.Options, ended *atomic.Bool) {
			options.CredentialsProviderContext = func(context.Context) (string, string, error) {
				if !ended.Load() {
					return "", "", errNoWay
				}
				return "", "", nil
			}
		}},
		"OnConnect": {change: func(_ *testing.T, _ *redistest.Server, options *redis.Options, ended *atomic.Bool) {
			options.OnConnect = func(context.Context, *redis.Conn) error {
				if !ended.Load() {
					return errNoWay
				}
				return nil
			}
		}},
		"TLS to a plain port": {change: func(_ *testing.T, server *redistest.Server, options *redis.Options, ended *atomic.Bool) {
			options.DialTimeout = 50 * time.Millisecond // a server does not reply before the end of a line
			options.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
				if !ended.Load() {
					dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
					return dialer.DialContext(ctx, network, server.Addr)
				}
				return new(net.Dialer).DialContext(ctx, network, server.Addr)
			}
		}},
		"connection that is cut in the handshake": {change: func(t *testing.T, server *redistest.Server, options *redis.Options, ended *atomic.Bool) {
			t.Helper()
			proxy := redistest.NewProxy(t, server.Addr, 0)
			proxy.OnSend(func(chunk []byte) (int, bool) { return len(chunk), !ended.Load() })
			options.Addr = proxy.Addr
		}},
		"no answer to the handshake": {change: func(t *testing.T, server *redistest.Server, options *redis.Options, ended *atomic.Bool) {
			t.Helper()
			options.ReadTimeout = 50 * time.Millisecond
			deaf, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = deaf.Close() })
			options.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
				if !ended.Load() {
					return new(net.Dialer).DialContext(ctx, network, deaf.Addr().String())
				}
				return new(net.Dialer).DialContext(ctx, network, server.Addr)
			}
		}},
		"too many clients": {args: []string{"--maxclients", "1"}, change: func(t *testing.T, server *redistest.Server, _ *redis.Options, ended *atomic.Bool) {
			t.Helper()
			conn, err := net.Dial("tcp", server.Addr)
			require.NoError(t, err)
			_, err = fmt.Fprint(conn, "PING\r\n")
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 7))
			require.NoError(t, err)
			go func() {
				for !ended.Load() {
					time.Sleep(time.Millisecond)
				}
				_ = conn.Close()
			}()
		}},
	}
	for name, test := range tests {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d messages", name, n), func(t *testing.T) {
				t.Parallel()
				server := redistest.Shared()
				if test.args != nil {
					server = redistest.Start(t, test.args...)
				}
				var ended atomic.Bool
				defer ended.Store(true)
				options := &redis.Options{Addr: server.Addr, DialerRetries: 1, MaxRetries: -1, PoolSize: 1, PipelinePoolSize: -1}
				test.change(t, server, options, &ended)
				client := redis.NewClient(options)
				t.Cleanup(func() { _ = client.Close() })
				publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
				topic := fixture.NewTopic(t)

				messages := fixture.Numbered("m", n)
				failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
				assert.Equal(t, messages, failure.Failed, "%v", failure.Err)

				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				messages[0].SetContext(ctx)
				result := fixture.GoPublish(publisher, topic, messages...)
				assert.Never(t, func() bool { return len(result) > 0 }, 60*time.Millisecond, 10*time.Millisecond)
				ended.Store(true)
				require.NoError(t, redistest.Within(t, "Publish", result))
				assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, client, topic))
			})
		}
	}
}

// A wrong password is not retryable: Publish fails at once.
func TestPublish_aWrongPasswordFailsAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	require.NoError(t, admin.ConfigSet(t.Context(), "requirepass", "right").Err())
	for name, password := range map[string]string{"wrong": "wrong", "none": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := server.Client(t, func(o *redis.Options) { o.Password = password })
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			messages := fixture.Numbered("m", 2)
			messages[0].SetContext(ctx)
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
			err := redistest.Within(t, "Publish", fixture.GoPublish(publisher, "topic", messages...))
			assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
		})
	}
}

// When no Sentinel or node can be reached, no server can have the message.
func TestPublish_failsForCertainWithoutSentinelsOrNodes(t *testing.T) {
	t.Parallel()
	addr := fixture.ClosedPort(t)
	for name, client := range map[string]redis.UniversalClient{
		"sentinel": redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}, DialerRetries: 1, MaxRetries: -1}),
		"cluster":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, DialerRetries: 1, MaxRetries: -1}),
		"ring":     redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": addr}, DialerRetries: 1, MaxRetries: -1}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() { _ = client.Close() })
			for _, replicas := range []int{0, 1} {
				publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: replicas})
				messages := fixture.Numbered("m", 2)
				failure := fixture.AsPublishError(t, publisher.Publish("topic", messages...))
				assert.Equal(t, messages, failure.Failed, "%v", failure.Err)
			}
		})
	}
}

// A hook of the client fails the command before it is sent.
func TestPublish_failsForCertainInAHook(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	client.AddHook(refusingHook{})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	for _, messages := range [][]*message.Message{fixture.Numbered("m", 1), fixture.Numbered("m", 3)} {
		failure := fixture.AsPublishError(t, publisher.Publish(fixture.NewTopic(t), messages...))
		assert.Equal(t, messages, failure.Failed)
		assert.ErrorIs(t, failure, errNoWay)
	}
}

type refusingHook struct{}

func (refusingHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (refusingHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errNoWay }
}

func (refusingHook) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errNoWay }
}
