package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLease_renewedEveryThirdAndOnlyWhenHeldThatLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3000)
		s, _ := g.start(t, nil)
		work(s.Output(), 2000, time.Millisecond)
		g.locked(func() { assert.Empty(t, g.holds, "a fast flow pays nothing") })
		msg := <-s.Output()
		began := time.Since(g.began)
		time.Sleep(60 * time.Second)
		synctest.Wait()
		msg.Ack()
		s.Close()
		last := began
		for _, at := range g.heldAt {
			assert.LessOrEqual(t, at-last, minIdle/2)
			last = at
		}
		assert.LessOrEqual(t, len(g.holds), 7, "in one batch each")
		assert.Greater(t, g.holds[0], 1, "what waits is held too")
	})
}

func TestLease_lostEntryIsTakenFromTheHandlerAndTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		s, log := g.start(t, func(c *options) { c.Workers, c.Key = 1, nil })
		first := <-s.Output()
		g.locked(func() { g.lost[first.UUID] = true })
		time.Sleep(time.Minute)
		require.Error(t, first.Context().Err())
		first.Nack() // no worker waits for it
		second := <-s.Output()
		assert.Equal(t, "2-0", second.UUID)
		second.Ack()
		assert.Equal(t, 1, log.Count("lost while they were held"))
		synctest.Wait()
		s.Close()
		assert.NotContains(t, g.released, "1-0")
	})
}

// The process was stopped, or the server failed, for longer than the lease. Other consumers may
// have the entries that were read ahead.
func TestLease_overIsRenewedBeforeTheHandlerGetsTheEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3000)
		s, _ := g.start(t, nil)
		work(s.Output(), 2000, time.Millisecond)
		msg := <-s.Output()
		synctest.Wait()
		g.locked(func() { g.fail = errDown })
		time.Sleep(minIdle + time.Second)
		g.locked(func() {
			g.fail = nil
			for id := range g.pending {
				g.lost[id] = true
			}
			assert.Greater(t, len(g.lost), 2)
		})
		msg.Ack()
		next := <-s.Output()
		g.locked(func() { assert.False(t, g.lost[next.UUID], next.UUID) })
		next.Ack()
		synctest.Wait()
		s.Close()
	})
}
