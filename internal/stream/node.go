package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// nodeClient is the client of one server, or of whichever Sentinel names: a *redis.Client.
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

const (
	// lookPause is how long at least lies between two looks at a cluster that does not take entries.
	lookPause = time.Second
	// lookPatience is how long a look may take: it asks a server at random, which may be the one that hangs. Then
	// there is another look, at most looks at the same time.
	lookPatience = 500 * time.Millisecond
	looks        = 3
)

// reloader has a cluster client look at the state of the cluster when entries are not taken: by itself it would
// go on dialling a dead master until it looks the next time, which is a minute by default.
type reloader struct {
	cluster clusterClient
	mu      sync.Mutex
	began   time.Time
	over    chan struct{} // closed when the last look is over; nil: there was none
	looking int           // looks under way: with a node that hangs and no ReadTimeout they may never end
}

func newReloader(client redis.UniversalClient) *reloader {
	if cluster, ok := client.(clusterClient); ok {
		return &reloader{cluster: cluster}
	}
	return nil
}

// watch looks each second until stop is called: nobody answers.
func (r *reloader) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var again func()
	again = func() {
		if ctx.Err() == nil {
			r.look(ctx)
			time.AfterFunc(lookPause, again)
		}
	}
	timer := time.AfterFunc(lookPause, again)
	return func() {
		timer.Stop()
		cancel()
	}
}

// await looks and waits for what comes of it, so that who tries again does so at the right server.
func (r *reloader) await(ctx context.Context) {
	for range looks {
		patience := time.NewTimer(lookPatience)
		select {
		case <-r.look(ctx):
			patience.Stop()
			return
		case <-ctx.Done():
			patience.Stop()
			return
		case <-patience.C:
		}
	}
}

// look returns a channel that is closed at the end of a look that began lately. It does not use ReloadState, which
// does nothing while an earlier look is stuck.
func (r *reloader) look(ctx context.Context) (over <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := lookPause
	select {
	case <-r.over:
	default:
		pause = lookPatience
	}
	if time.Since(r.began) >= pause && r.looking < looks {
		over := make(chan struct{})
		r.began, r.over = time.Now(), over
		r.looking++
		go func() {
			_ = r.cluster.ForEachMaster(context.WithoutCancel(ctx), func(context.Context, *redis.Client) error { return nil })
			r.mu.Lock()
			r.looking--
			r.mu.Unlock()
			close(over)
		}()
	}
	return r.over
}
