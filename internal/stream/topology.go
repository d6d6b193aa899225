package stream

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// refreshPause is the shortest time between two refreshes while entries are not accepted.
	refreshPause = time.Second
	// refreshTimeout is how long a refresh may take before another one starts: it asks a random
	// server, which may hang. At most maxRefreshes run at the same time.
	refreshTimeout = 500 * time.Millisecond
	maxRefreshes   = 3
)

// topology refreshes a cluster client's topology when a server fails. The client itself refreshes
// it once a minute, and dials a dead master until then.
type topology struct {
	cluster clusterClient

	mu      sync.Mutex
	began   time.Time
	done    chan struct{} // closed when the last refresh ends; nil: there was none
	running int           // with a node that hangs and no ReadTimeout a refresh may never end
}

// newTopology returns nil if the client is not a cluster client.
func newTopology(client redis.UniversalClient) *topology {
	if cluster, ok := client.(clusterClient); ok {
		return &topology{cluster: cluster}
	}
	return nil
}

// refreshUntil refreshes each second while a reply is overdue, until stop is called.
func (t *topology) refreshUntil(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var again func()
	again = func() {
		if ctx.Err() == nil {
			t.refresh(ctx)
			time.AfterFunc(refreshPause, again)
		}
	}
	timer := time.AfterFunc(refreshPause, again)
	return func() {
		timer.Stop()
		cancel()
	}
}

// refreshAndWait refreshes, and waits for the result: a retry then goes to the right server.
func (t *topology) refreshAndWait(ctx context.Context) {
	for range maxRefreshes {
		timeout := time.NewTimer(refreshTimeout)
		select {
		case <-t.refresh(ctx):
			timeout.Stop()
			return
		case <-ctx.Done():
			timeout.Stop()
			return
		case <-timeout.C:
		}
	}
}

// refresh returns a channel that is closed at the end of a refresh that began recently. It does not
// use ReloadState, which does nothing while an earlier refresh hangs.
func (t *topology) refresh(ctx context.Context) (done <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pause := refreshPause
	select {
	case <-t.done:
	default:
		pause = refreshTimeout
	}
	if time.Since(t.began) >= pause && t.running < maxRefreshes {
		done := make(chan struct{})
		t.began, t.done = time.Now(), done
		t.running++
		go func() {
			_ = t.cluster.ForEachMaster(context.WithoutCancel(ctx), func(context.Context, *redis.Client) error { return nil })
			t.mu.Lock()
			t.running--
			t.mu.Unlock()
			close(done)
		}()
	}
	return t.done
}
