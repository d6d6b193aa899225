package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// If no handler receives the message, its lease is renewed. Once the lease is lost, the message is
// not delivered.
func TestOffer_isWithdrawnWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		s, _ := g.start(t, nil)
		time.Sleep(10 * time.Minute)
		g.locked(func() { g.lost["1-0"] = true })
		time.Sleep(minIdle)
		msg := <-s.Output()
		assert.Equal(t, "2-0", msg.UUID)
		msg.Ack()
		s.Close()
	})
}

// The process was stopped for longer than the lease. The lease is checked on the server before the
// delivery.
func TestOffer_asksFirstWhenTheLeaseMayBeOver(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newFakeGroup(2)
			s, _ := g.start(t, func(c *options) { c.ClaimMinIdle = 30 * time.Second })
			synctest.Wait() // the offer stands
			standStill(s, time.Minute)
			g.locked(func() { g.lost["1-0"] = lost })
			time.Sleep(longestOffer) // the offer is over
			synctest.Wait()
			msg := <-s.Output()
			assert.Equal(t, lost, msg.UUID == "2-0")
			g.locked(func() { assert.NotEmpty(t, g.holds) })
			msg.Ack()
			s.Close()
		})
	}
}

// slowLink is a group whose replies take most of a lease.
type slowLink struct{ *fakeGroup }

func (g slowLink) Read(ctx context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, error) {
	entries, err := g.fakeGroup.Read(ctx, limit, block)
	if len(entries) > 0 {
		time.Sleep(minIdle * 9 / 10)
	}
	return entries, err
}

// Most of the lease is over when the entry arrives. It is renewed before a handler gets the
// message, because the next periodic renewal could be too late.
func TestOffer_renewsALeaseThatIsMostlyOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *options) { c.Stream = slowLink{g} })
		msg := <-s.Output()
		g.locked(func() { assert.NotEmpty(t, g.holds) })
		msg.Ack()
		s.Close()
	})
}

// Renewals fail, but the lease has not ended. The message is delivered.
func TestOffer_doesNotInsistWhileTheLeaseLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, nil)
		synctest.Wait()
		g.locked(func() { g.fail = errDown })
		standStill(s, minIdle*6/10)
		time.Sleep(longestOffer)
		select {
		case msg := <-s.Output():
			msg.Ack()
		case <-time.After(time.Second):
			assert.Fail(t, "not delivered")
		}
		g.locked(func() { g.fail = nil })
		s.Close()
	})
}

// The lease may have ended, and the server does not answer. The entry waits for the answer.
func TestOffer_waitsForAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, nil)
		synctest.Wait()
		g.locked(func() { g.fail = errDown })
		standStill(s, time.Minute)
		time.Sleep(longestOffer)
		synctest.Wait()
		select {
		case msg := <-s.Output():
			assert.Fail(t, "handed out", msg.UUID)
		case <-time.After(5 * time.Second):
		}
		g.locked(func() { g.fail = nil })
		(<-s.Output()).Ack()
		s.Close()
	})
}

// standStill makes leases older, as if the process had been stopped for d.
func standStill(s *Subscription, d time.Duration) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	for _, e := range s.inbox.table.entries {
		e.leasedAt = e.leasedAt.Add(-d)
	}
}
