package subscription

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// setBack is a group on a server whose clock was set back: XPENDING with IDLE finds nothing.
type setBack struct{ *fakeGroup }

func (g setBack) Pending(ctx context.Context, page stream.Page) ([]stream.PendingEntry, error) {
	if page.Idle > 0 {
		return nil, nil
	}
	return g.fakeGroup.Pending(ctx, page)
}

func TestFrozenIdle_isClaimedAfterClaimMinIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		for i := range 5 {
			g.foreign = append(g.foreign, stream.PendingEntry{ID: fmt.Sprintf("%d-0", i+1), Consumer: "dead", Deliveries: 1})
		}
		refused, alive, renewed := "2-0", 2, 3 // an ID; the others are indexes
		g.foreign[alive].Idle = time.Millisecond
		s, _ := g.start(t, func(c *options) {
			c.Stream = setBack{g}
			c.ShouldClaim = func(row stream.PendingEntry) bool { return row.ID != refused }
		})
		time.Sleep(10 * time.Second)
		g.locked(func() { g.foreign[renewed].Deliveries++ })
		nothing := func(d time.Duration) {
			t.Helper()
			select {
			case msg := <-s.Output():
				assert.Fail(t, "too early", msg.UUID)
			case <-time.After(d):
			}
		}
		nothing(19 * time.Second)
		got := map[string]time.Duration{}
		for range 3 {
			msg := <-s.Output()
			got[msg.UUID] = time.Since(g.began)
			msg.Ack()
		}
		for id, least := range map[string]time.Duration{"1-0": 30 * time.Second, "5-0": 30 * time.Second, "4-0": 40 * time.Second} {
			assert.GreaterOrEqual(t, got[id], least, id)
			assert.Less(t, got[id], least+8*time.Second, id) // two checks and an empty read
		}
		nothing(time.Minute)
		s.Close()
	})
}

func TestFrozenIdle_goesThroughALongList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		const n = 2*frozenPage + 5
		for i := range n {
			g.foreign = append(g.foreign, stream.PendingEntry{ID: fmt.Sprintf("%d-0", 1_000_000+i), Consumer: "dead", Deliveries: 1, Idle: time.Second})
		}
		g.foreign[n-1].Idle = 0
		s, _ := g.start(t, func(c *options) { c.Stream = setBack{g} })
		msg := <-s.Output()
		assert.Equal(t, fmt.Sprintf("%d-0", 1_000_000+n-1), msg.UUID)
		assert.Less(t, time.Since(g.began), 45*time.Second)
		assert.LessOrEqual(t, len(s.backend.(*group).recovery.frozen.watched), frozenPage)
		msg.Ack()
		s.Close()
	})
}
