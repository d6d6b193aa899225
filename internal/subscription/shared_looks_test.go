package subscription

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// sharedLooks returns when the members of an idle group looked at it, after some time.
func sharedLooks(t *testing.T, members int, span time.Duration) (at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var groups []*fakeGroup
		for range members {
			g := newFakeGroup(0)
			g.members = int64(members)
			s, _ := g.start(t, nil)
			defer s.Close()
			groups = append(groups, g)
		}
		time.Sleep(minIdle)
		for _, g := range groups {
			g.locked(func() { g.looksAt = nil })
		}
		time.Sleep(span)
		synctest.Wait()
		for _, g := range groups {
			g.locked(func() { at = append(at, g.looksAt...) })
		}
	})
	slices.Sort(at)
	return at
}

// However many members an idle group has, it is looked at as often. They began at the same time, and
// look at different times.
func TestSharedLooks_groupIsLookedAtInEachInterval(t *testing.T) {
	t.Parallel()
	const span = time.Hour
	for _, members := range []int{1, 2, 5, 10} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			at := sharedLooks(t, members, span)
			perInterval := float64(len(at)) / float64(span/interval)
			assert.Greater(t, perInterval, 1.0)
			assert.Less(t, perInterval, 1.4)
			late := 0
			for i := range at[1:] {
				if at[i+1]-at[i] > 4*interval {
					late++
				}
			}
			assert.Less(t, late, len(at)/20, "gaps of more than 4 intervals")
		})
	}
}

// A large group is looked at more often: each member looks twice in ClaimMinIdle.
func TestSharedLooks_eachMemberLooksTwiceInALease(t *testing.T) {
	t.Parallel()
	at := sharedLooks(t, 100, time.Hour)
	perMember := float64(len(at)) / 100 / float64(time.Hour/minIdle)
	assert.Greater(t, perMember, 2.0)
	assert.Less(t, perMember, 2.7)
}

// All other members are dead, and one of them had just got an entry. The last one takes the entry
// over as soon as its lease is over.
func TestSharedLooks_lastMemberTakesOverInTime(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(0)
				g.members = 100
				s, _ := g.start(t, func(o *options) {
					o.ShouldClaim = func(row stream.PendingEntry) bool { return time.Since(g.began) >= row.Idle }
				})
				time.Sleep(time.Minute + time.Duration(n)*time.Second)
				over := time.Since(g.began) + minIdle
				g.locked(func() {
					g.foreign = append(g.foreign, stream.PendingEntry{ID: "1-0", Consumer: "dead", Deliveries: 1, Idle: over})
				})
				(<-s.Output()).Ack()
				assert.GreaterOrEqual(t, time.Since(g.began), over)
				assert.LessOrEqual(t, time.Since(g.began), over+interval)
				s.Close()
			})
		})
	}
}

// While the group has work, each member looks in each interval: also one that gets an entry.
func TestSharedLooks_endWithTheFirstEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		g.members = 100
		s, _ := g.start(t, nil)
		time.Sleep(time.Minute)
		g.add(1)
		(<-s.Output()).Ack()
		got := time.Since(g.began)
		time.Sleep(interval)
		synctest.Wait()
		g.locked(func() { assert.Greater(t, g.looksAt[len(g.looksAt)-1], got) })
		s.Close()
	})
}

// Entries in the retry queue are work, too.
func TestSharedLooks_notWithARetryQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		g.members, g.inQueue = 100, true
		g.takeRetries = func() ([]stream.Entry, time.Duration, error) { return nil, time.Hour, nil }
		s, _ := g.start(t, nil)
		time.Sleep(time.Minute)
		g.locked(func() { assert.GreaterOrEqual(t, len(g.looksAt), int(time.Minute/interval)) })
		s.Close()
	})
}

// A read is not ended for the look for a pause, if nothing is held that a pause would release. The
// entry that ends it finds the pause.
func TestPause_heldByAnEntryThatEndsALongRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(0)
		g.members = 100
		s, _ := g.start(t, pausable)
		time.Sleep(time.Minute)
		synctest.Wait()
		reads, looks := 0, 0
		g.locked(func() { reads, looks = len(g.reads), len(g.looksAt) })
		time.Sleep(time.Minute)
		g.locked(func() {
			assert.LessOrEqual(t, len(g.reads)-reads, int(time.Minute/s.BlockTime)+len(g.looksAt)-looks+1)
			assert.Zero(t, g.looks, "no look of its own")
			g.paused = true
		})
		g.add(1)
		nothingComes(t, s, minIdle)
		assert.Equal(t, map[string]int64{"1-0": 0}, g.releasedNow())
		g.locked(func() { g.paused = false })
		(<-s.Output()).Ack()
		s.Close()
	})
}
