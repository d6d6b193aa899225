package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// An offer that nobody takes stands for long: the lease is renewed, and nothing is handed out once it is lost.
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

// The process stood still for longer than the lease: what is offered is asked for first.
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

// slowLink is a group whose entries are under way for most of their lease.
type slowLink struct{ *fakeGroup }

func (g slowLink) Read(ctx context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, error) {
	entries, err := g.fakeGroup.Read(ctx, limit, block)
	if len(entries) > 0 {
		time.Sleep(minIdle * 9 / 10)
	}
	return entries, err
}

// Most of the lease is over when the entry comes: it is renewed before a handler gets the message. The next round of renewals
// could be too late.
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

// Renewals fail while the lease lasts: the message is delivered all the same.
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

// A server that can't be asked: the entry waits until it can.
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

// standStill makes leases as old as if the process had stood still for so long.
func standStill(s *Subscription, d time.Duration) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	for _, e := range s.inbox.table.entries {
		e.leasedAt = e.leasedAt.Add(-d)
	}
}
