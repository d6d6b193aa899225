package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnsupportedClient is returned for a client whose single servers can't be reached.
var ErrUnsupportedClient = errors.New("client is neither a *redis.Client, a *redis.ClusterClient, " +
	"a *redis.Ring nor a type that embeds one")

// Supported reports whether single servers can be reached through this client.
func Supported(client redis.UniversalClient) error {
	switch client.(type) {
	case nodeClient, clusterClient, ringClient:
		return nil
	default:
		return fmt.Errorf("%T: %w", client, ErrUnsupportedClient)
	}
}

// nodeClient is the client of one server, or of the master that Sentinel names: a *redis.Client.
type nodeClient interface {
	Options() *redis.Options
	WithTimeout(timeout time.Duration) *redis.Client
}

type clusterClient interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ForEachMaster(ctx context.Context, visit func(context.Context, *redis.Client) error) error
	ReloadState(ctx context.Context)
}

type ringClient interface {
	GetShardClientForKey(key string) (*redis.Client, error)
}

// node returns the client of the server that holds key.
func node(ctx context.Context, shared redis.UniversalClient, key string) (nodeClient, error) {
	switch c := shared.(type) {
	case nodeClient:
		return c, nil
	case clusterClient:
		return orNone(c.MasterForKey(ctx, key))
	case ringClient:
		return orNone(c.GetShardClientForKey(key))
	default:
		return nil, Supported(shared)
	}
}

// MasterOf returns the address of the master that holds key, as far as a cluster client knows it;
// empty: it does not, or the client is of another kind.
func MasterOf(ctx context.Context, client redis.UniversalClient, key string) string {
	cluster, ok := client.(clusterClient)
	if !ok {
		return ""
	}
	master, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return ""
	}
	return master.Options().Addr
}

func orNone(client *redis.Client, err error) (nodeClient, error) {
	if err != nil {
		return nil, err
	}
	return client, nil
}

// nodeAt returns the client of the master at an address; nil: the cluster client knows none.
func nodeAt(ctx context.Context, cluster clusterClient, addr string) nodeClient {
	var found atomic.Pointer[redis.Client]
	_ = cluster.ForEachMaster(ctx, func(_ context.Context, client *redis.Client) error {
		if client.Options().Addr == addr {
			found.Store(client)
		}
		return nil
	})
	if client := found.Load(); client != nil {
		return client
	}
	return nil
}
