package redisstream

import (
	"context"
	"net"
	"runtime"
	"sync"
	"weak"

	"github.com/millrace/redisstream/internal/busypoll"
	"github.com/redis/go-redis/v9"
)

// EnableBusyPolling makes a client faster whose server is close: a goroutine that waits for a reply
// polls for up to 100 µs before it parks. On the server's own machine or rack that takes about half
// of the time of a single call. One goroutine of each client polls at a time, and where replies
// come later it polls less and less often. Nobody polls for acks or for new entries. Connections
// with TLS are left as they are, and so are all on Windows. benchmarks/BUSYPOLL.md has figures.
//
// Connect calls it. For a client that Connect did not make, call it before the client is used and
// before NewPublisher: it changes new connections only.
func EnableBusyPolling(client redis.UniversalClient) {
	hook := busyPollHook{pollerOf(client)}
	nodes, several := client.(interface {
		OnNewNode(hook func(*redis.Client))
	})
	if !several {
		client.AddHook(hook)
		return
	}
	nodes.OnNewNode(func(node *redis.Client) { node.AddHook(hook) })
	if ring, ok := client.(*redis.Ring); ok { // a Ring has its nodes already
		_ = ring.ForEachShard(context.Background(), func(_ context.Context, node *redis.Client) error {
			node.AddHook(hook)
			return nil
		})
	}
}

// pollers has the *busypoll.Poller of each client. go-redis does not give access to a client's
// hooks, so the key is a weak pointer to the client's options: each client has its own, also when
// another type embeds it.
var pollers sync.Map

// pollerOf returns what the connections of the client share. Of a client that does not busy-poll,
// or is of an unknown type, nothing uses it.
func pollerOf(client redis.UniversalClient) *busypoll.Poller {
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		return pollerFor(client.Options())
	case interface{ Options() *redis.ClusterOptions }:
		return pollerFor(client.Options())
	case interface{ Options() *redis.RingOptions }:
		return pollerFor(client.Options())
	default:
		return new(busypoll.Poller)
	}
}

func pollerFor[T any](options *T) *busypoll.Poller {
	key := weak.Make(options)
	poller, known := pollers.LoadOrStore(key, new(busypoll.Poller))
	if !known {
		runtime.AddCleanup(options, func(key weak.Pointer[T]) { pollers.Delete(key) }, key)
	}
	return poller.(*busypoll.Poller) //nolint:forcetypeassert // the map has no other values
}

// busyPollHook wraps the connections that a client dials.
type busyPollHook struct{ poller *busypoll.Poller }

// DialHook is part of redis.Hook, as are the other methods.
func (h busyPollHook) DialHook(dial redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return h.poller.Wrap(conn), nil
	}
}

func (h busyPollHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if h.poller.Begin(ctx) {
			defer h.poller.End()
		}
		return next(ctx, command)
	}
}

func (h busyPollHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if h.poller.Begin(ctx) {
			defer h.poller.End()
		}
		return next(ctx, commands)
	}
}
