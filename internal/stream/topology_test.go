package stream

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// hung is a cluster client whose refreshes hang until the test ends them.
type hung struct {
	clusterClient

	refreshes atomic.Int64
	end       chan struct{}
}

func (h *hung) ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error {
	h.refreshes.Add(1)
	<-h.end
	return nil
}

func TestTopology_refreshesThatHangAreFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := &hung{end: make(chan struct{})}
		topology := &topology{cluster: cluster}
		for range 100 {
			topology.refresh(t.Context())
			time.Sleep(refreshPause)
		}
		assert.EqualValues(t, maxRefreshes, cluster.refreshes.Load())
		began := time.Now()
		topology.refreshAndWait(t.Context())
		assert.Equal(t, maxRefreshes*refreshTimeout, time.Since(began), "nobody waits for them for ever")

		close(cluster.end)
		synctest.Wait()
		topology.refreshAndWait(t.Context())
		assert.EqualValues(t, maxRefreshes+1, cluster.refreshes.Load())
	})
}
