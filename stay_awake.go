package redisstream

import (
	"context"
	"net"

	"github.com/millrace/redisstream/internal/awake"
	"github.com/redis/go-redis/v9"
)

// StayAwake has those who wait for replies of the client stay awake for up to 100 µs, one goroutine of the process at a
// time, before they let their thread sleep. Next to the server that about doubles the speed of single calls. Where replies came
// later twice it is tried less and less often, so that hardly any time is wasted. It is not done with TLS, nor on Windows.
//
// Connect calls it. For a client of your own, call it before the client is used: connections that are there stay as they are.
func StayAwake(client redis.UniversalClient) {
	hook := func(node *redis.Client) { node.AddHook(awakeHook{}) }
	nodes, several := client.(interface {
		OnNewNode(hook func(*redis.Client))
	})
	if !several {
		client.AddHook(awakeHook{})
		return
	}
	nodes.OnNewNode(hook)
	if ring, ok := client.(*redis.Ring); ok { // it has its nodes already
		_ = ring.ForEachShard(context.Background(), func(_ context.Context, node *redis.Client) error {
			hook(node)
			return nil
		})
	}
}

// awakeHook wraps what a client dials.
type awakeHook struct{}

// DialHook is part of redis.Hook, like the others.
func (awakeHook) DialHook(dial redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return awake.Wrap(conn), nil
	}
}

func (awakeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (awakeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
