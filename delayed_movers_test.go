package redisstream

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/delayed"
	"github.com/stretchr/testify/assert"
)

// A call to a server that hangs ends with the client's time-out, whatever becomes of its context.
// close waits for the calls of all topics at the same time.
func TestMovers_closeWaitsForAllTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const topics, timeout = 50, 3 * time.Second
		var calls atomic.Int32
		movers := movers{byTopic: map[string]*delayed.Mover{}}
		for i := range topics {
			hang := func(ctx context.Context) (time.Duration, error) {
				<-ctx.Done()
				time.Sleep(timeout)
				calls.Add(1)
				return 0, ctx.Err()
			}
			movers.byTopic[fmt.Sprint(i)] = &delayed.Mover{Move: hang}
			movers.arm(fmt.Sprint(i), 0)
		}
		synctest.Wait()
		began := time.Now()
		movers.close()
		assert.Equal(t, timeout, time.Since(began))
		assert.EqualValues(t, topics, calls.Load())
		movers.arm("0", 0)
		synctest.Wait()
		assert.EqualValues(t, topics, calls.Load(), "they are closed")
	})
}
