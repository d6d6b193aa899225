package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAck_retriedUntilItIsThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(10)
		g.failAcks = 20
		s, log := g.start(t, nil)
		work(s.Output(), 10, 0)
		time.Sleep(time.Minute)
		assert.Equal(t, 10, g.acked())
		assert.Equal(t, 1, log.Count("acknowledging failed"))
		s.Close()
	})
}

// Earlier acks are sent before a redelivery, so a message that crashes the process can't lose them.
func TestAck_isThroughBeforeAMessageIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, maxDeliveries int) (*fakeGroup, *Subscription) {
		t.Helper()
		g := newFakeGroup(3)
		g.failAcks = 1 << 30
		g.entries[1].Deliveries, g.entries[1].Counted = 2, 2
		s, _ := g.start(t, func(c *options) { c.MaxDeliveries = maxDeliveries })
		work(s.Output(), 1, 0)
		return g, s
	}
	t.Run("with MaxDeliveries", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 5)
			select {
			case <-s.Output():
				t.Fatal("the ack before is not through")
			case <-time.After(time.Hour):
			}
			g.locked(func() { g.failAcks = 0 })
			msg := <-s.Output()
			assert.Equal(t, 1, g.acked())
			msg.Nack()
			work(s.Output(), 2, 0)
			s.Close()
			assert.Equal(t, 3, g.acked())
		})
	})
	t.Run("Close ends the wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 5)
			synctest.Wait()
			s.Close()
			_, open := <-s.Output()
			assert.False(t, open)
			assert.Equal(t, map[string]int64{"1-0": 1, "2-0": 1, "3-0": 0}, g.released)
		})
	})
	t.Run("without it nobody waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			_, s := begin(t, 0)
			began := time.Now()
			work(s.Output(), 2, 0)
			assert.Zero(t, time.Since(began))
			s.Close()
		})
	})
}

func TestAck_givenUpWithCloseAndReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		g.failAcks = 1 << 30
		s, _ := g.start(t, nil)
		work(s.Output(), 3, 0)
		began := time.Now()
		s.Close()
		assert.InDelta(t, (s.CloseTimeout + ackGrace).Seconds(), time.Since(began).Seconds(), 0.1)
		assert.Equal(t, map[string]int64{"1-0": 1, "2-0": 1, "3-0": 1}, g.released)
	})
}
