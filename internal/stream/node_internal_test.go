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

// hung is a cluster client whose looks at the cluster end when they are told to.
type hung struct {
	clusterClient

	looks atomic.Int64
	end   chan struct{}
}

func (h *hung) ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error {
	h.looks.Add(1)
	<-h.end
	return nil
}

func TestReloader_looksThatHangAreFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := &hung{end: make(chan struct{})}
		r := &reloader{cluster: cluster}
		for range 100 {
			r.look(t.Context())
			time.Sleep(lookPause)
		}
		assert.EqualValues(t, looks, cluster.looks.Load())
		began := time.Now()
		r.await(t.Context())
		assert.Equal(t, looks*lookPatience, time.Since(began), "nobody waits for them for ever")

		close(cluster.end)
		synctest.Wait()
		r.await(t.Context())
		assert.EqualValues(t, looks+1, cluster.looks.Load())
	})
}
