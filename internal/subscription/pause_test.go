package subscription

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newPausable returns a group with up to 9 entries, whose released entries can be claimed.
func newPausable(n int) *fakeGroup {
	g := newFakeGroup(n)
	g.returns = true
	return g
}

// pausable makes the subscription look for a pause of its group.
func pausable(o *options) { o.CanBePaused = true }

// nothingComes fails the test if a message comes in d.
func nothingComes(t *testing.T, s *Subscription, d time.Duration) {
	t.Helper()
	select {
	case msg := <-s.Output():
		require.Fail(t, "a message came", msg.UUID)
	case <-time.After(d):
	}
}

func (s *Subscription) held() int {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return len(s.inbox.table.entries)
}

func (g *fakeGroup) releasedNow() map[string]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.released)
}

// What a pause finds is released: an offer, a nacked entry that waits, entries read ahead. Afterwards all come in
// order, and the delivery count is right.
func TestPause_strictOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(9)
		s, log := g.start(t, func(o *options) { o.Backoff = func(int) time.Duration { return 20 * time.Second } })
		assert.Equal(t, []string{"1-0", "2-0", "3-0"}, handle(s.Output(), 3, time.Millisecond))
		(<-s.Output()).Nack()
		synctest.Wait()
		s.SetPaused(true)
		nothingComes(t, s, time.Minute)
		assert.Zero(t, s.held())
		released := g.releasedNow()
		assert.EqualValues(t, 1, released["4-0"], "a handler had it once")
		assert.EqualValues(t, 0, released["5-0"], "nobody had it")
		g.add(1) // a newer one
		nothingComes(t, s, time.Minute)
		s.SetPaused(false)
		msg := <-s.Output()
		assert.Equal(t, "4-0", msg.UUID)
		s.inbox.leases(func(table *leaseTable) { assert.EqualValues(t, 2, table.entries["4-0"].delivered()) })
		msg.Ack()
		assert.Equal(t, []string{"5-0", "6-0", "7-0", "8-0", "9-0"}, handle(s.Output(), 5, time.Millisecond))
		s.Close()
		assert.Equal(t, 1, log.Count("the subscription is paused"))
		assert.Equal(t, 1, log.Count("the subscription goes on after a pause"))
	})
}

func TestPause_anOfferIsWithdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(5)
		s, _ := g.start(t, func(o *options) { o.Workers = 3 })
		synctest.Wait() // three offers stand
		s.SetPaused(true)
		select {
		case <-s.Output():
			assert.Fail(t, "an offer stands")
		default:
		}
		synctest.Wait()
		assert.Zero(t, s.held())
		for id, n := range g.releasedNow() {
			assert.Zero(t, n, id)
		}
		s.SetPaused(false)
		assert.ElementsMatch(t, []string{"1-0", "2-0", "3-0", "4-0", "5-0"}, handle(s.Output(), 5, 0))
		s.Close()
		assert.Equal(t, 5, g.acked())
	})
}

// Handlers go on. Their leases are renewed, an ack counts, and a nacked entry is released.
func TestPause_runningHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(3)
		s, _ := g.start(t, func(o *options) {
			o.Workers = 3
			o.Backoff = func(int) time.Duration { return time.Second }
		})
		first, second, third := <-s.Output(), <-s.Output(), <-s.Output()
		s.SetPaused(true)
		synctest.Wait()
		assert.Empty(t, g.releasedNow())
		g.locked(func() { assert.ElementsMatch(t, []string{"1-0", "2-0", "3-0"}, g.kept) })
		time.Sleep(minIdle)
		g.locked(func() { assert.NotEmpty(t, g.holds, "leases are renewed") })
		first.Ack()
		second.Nack()
		synctest.Wait()
		assert.Equal(t, 1, g.acked())
		assert.Equal(t, map[string]int64{second.UUID: 1}, g.releasedNow())
		nothingComes(t, s, 5*time.Second)
		third.Ack()
		s.SetPaused(false)
		again := <-s.Output()
		assert.Equal(t, second.UUID, again.UUID)
		again.Ack()
		s.Close()
		assert.Equal(t, 3, g.acked())
	})
}

// The group is paused by another process.
func TestPause_ofTheGroup(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*options){
		"default":      func(*options) {},
		"never claims": func(o *options) { o.NeverClaim = true },
		"an hour":      func(o *options) { o.ClaimInterval = time.Hour },
		"AutoAck":      func(o *options) { o.Backend = AutoAckGroup{o.Membership} },
		"AutoAck, an hour": func(o *options) {
			o.ClaimInterval = time.Hour
			o.Backend = AutoAckGroup{o.Membership}
		},
		"long blocks, 16 workers": func(o *options) { o.BlockTime, o.ClaimInterval, o.Workers = time.Hour, time.Hour, 16 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newPausable(2)
				s, log := g.start(t, func(o *options) {
					pausable(o)
					change(o)
				})
				handle(s.Output(), 2, time.Millisecond)
				for range 5 {
					time.Sleep(rand.N(3 * time.Second))
					g.locked(func() { g.paused = true })
					time.Sleep(2 * time.Second)
					g.add(1)
					nothingComes(t, s, 10*time.Second)
					g.locked(func() { g.paused = false })
					resumed := time.Now()
					handle(s.Output(), 1, 0)
					assert.LessOrEqual(t, time.Since(resumed), 2*time.Second)
				}
				if name == "default" || name == "AutoAck" || name == "never claims" {
					assert.Zero(t, g.looks, "the look is part of the look at the group's state")
				}
				s.Close()
				assert.Equal(t, 5, log.Count("the subscription is paused"))
				assert.Equal(t, 5, log.Count("the subscription goes on after a pause"))
			})
		})
	}
}

// A busy subscription stops, too, and looks although there is no room to read.
func TestPause_ofTheGroupWhileBusy(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{interval, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			g := newPausable(9)
			s, _ := g.start(t, func(o *options) {
				pausable(o)
				o.ClaimInterval = interval
			})
			handle(s.Output(), 2, 10*time.Millisecond)
			held := <-s.Output()
			g.locked(func() { g.paused = true })
			time.Sleep(2 * time.Second)
			assert.Equal(t, 1, s.held(), "only what the handler has")
			held.Ack()
			nothingComes(t, s, 5*time.Second)
			g.locked(func() { g.paused = false })
			assert.Equal(t, "4-0", handle(s.Output(), 1, 0)[0])
			s.Close()
		})
	}
}

func TestPause_subscriptionToAPausedGroupReadsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(3)
		g.paused = true
		g.foreign = abandoned(3)
		s, _ := g.start(t, pausable)
		nothingComes(t, s, time.Minute)
		assert.Empty(t, g.reads)
		assert.Zero(t, g.claims)
		s.Close()
	})
}

// Either pause alone has the effect.
func TestPause_localAndOfTheGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(3)
		s, _ := g.start(t, func(o *options) {
			pausable(o)
			o.Paused = true
		})
		nothingComes(t, s, time.Minute)
		g.locked(func() { g.paused = true })
		time.Sleep(2 * time.Second)
		s.SetPaused(false)
		s.SetPaused(false)
		nothingComes(t, s, time.Minute)
		s.SetPaused(true)
		g.locked(func() { g.paused = false })
		nothingComes(t, s, time.Minute)
		s.SetPaused(false)
		handle(s.Output(), 3, 0)
		s.Close()
	})
}

// The server does not take the release. The entries come in order when the pause is over, after their leases were checked.
func TestPause_releaseFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(9)
		s, log := g.start(t, nil)
		handle(s.Output(), 3, time.Millisecond)
		msg := <-s.Output()
		g.locked(func() { g.fail = errDown })
		msg.Nack()
		s.SetPaused(true)
		nothingComes(t, s, time.Minute)
		assert.NotZero(t, s.held())
		s.SetPaused(false)
		time.Sleep(10 * time.Second)
		g.locked(func() {
			g.fail = nil
			g.lost["5-0"] = true // another consumer has it
		})
		assert.Equal(t, []string{"4-0", "6-0", "7-0", "8-0", "9-0"}, handle(s.Output(), 5, time.Millisecond))
		s.Close()
		assert.Equal(t, 1, log.Count("releasing entries for a pause failed"))
	})
}

// Some are released, others are not: what is here waits for the older ones.
func TestPause_secondReleaseFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(9)
		s, _ := g.start(t, nil)
		handle(s.Output(), 3, time.Millisecond)
		s.SetPaused(true)
		synctest.Wait()
		assert.Zero(t, s.held())
		s.inbox.add(arrival{entries: []entry{{Entry: stream.Entry{ID: "5-1", Fields: stream.NewFields("data", "5-1"), Deliveries: 1, Counted: 1}}}})
		s.inbox.leases(func(*leaseTable) { s.inbox.unheld() })
		g.locked(func() { g.fail = errDown })
		time.Sleep(10 * time.Second)
		assert.Equal(t, 1, s.held())
		s.SetPaused(false)
		g.locked(func() { g.fail = nil })
		ids := handle(s.Output(), 7, time.Millisecond)
		assert.Equal(t, []string{"4-0", "5-0", "5-1", "6-0", "7-0", "8-0", "9-0"}, ids)
		s.Close()
	})
}

// The process ends while the subscription is paused.
func TestPause_close(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Subscription, context.CancelFunc){
		"Close":   func(s *Subscription, _ context.CancelFunc) { s.Close() },
		"context": func(s *Subscription, cancel context.CancelFunc) { cancel(); <-s.Ended().Done() },
	} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", server down: ", down), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := newFakeGroup(9)
					o, _ := g.options()
					o.Backend = o.Group
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					s := Start(ctx, o.Config)
					handle(s.Output(), 3, time.Millisecond)
					if down {
						g.locked(func() { g.fail = errDown })
					}
					(<-s.Output()).Nack()
					s.SetPaused(true)
					time.Sleep(time.Minute)
					g.locked(func() { g.fail = nil })
					began := time.Now()
					end(s, cancel)
					assert.Less(t, time.Since(began), time.Second)
					assert.EqualValues(t, 1, g.releasedNow()["4-0"])
					for id := range g.pending {
						assert.Contains(t, g.released, id)
					}
					assert.True(t, g.left)
					_, open := <-s.Output()
					assert.False(t, open)
				})
			})
		}
	}
}

// What is acknowledged already can't be given to others: it waits here.
func TestPause_withoutAcks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fakeGroup, *options){
		"AutoAck": func(_ *fakeGroup, o *options) { o.Backend = AutoAckGroup{o.Membership} },
		"fan-out": func(g *fakeGroup, o *options) { o.Backend = Fanout{Stream: g, Delayed: NoDelayed{}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(50)
				s, _ := g.start(t, func(o *options) { change(g, o) })
				handle(s.Output(), 10, time.Millisecond)
				(<-s.Output()).Nack()
				s.SetPaused(true)
				nothingComes(t, s, time.Minute)
				var reads int
				g.locked(func() { reads = len(g.reads) })
				nothingComes(t, s, time.Minute)
				assert.Len(t, g.reads, reads)
				s.SetPaused(false)
				ids := handle(s.Output(), 40, time.Millisecond)
				for i, id := range ids {
					assert.Equal(t, fmt.Sprintf("%d-0", 11+i), id)
				}
				s.Close()
				assert.Empty(t, g.released)
			})
		})
	}
}

// A renewal that is under way would undo the release.
func TestPause_renewalUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(9)
		s, _ := g.start(t, nil)
		handle(s.Output(), 3, time.Millisecond)
		<-s.Output()
		s.inbox.leases(func(table *leaseTable) { table.renewing = true })
		s.SetPaused(true)
		time.Sleep(time.Second)
		assert.Zero(t, g.releases)
		s.inbox.renewed()
		synctest.Wait()
		assert.Equal(t, 1, g.releases)
		s.Close()
	})
}

func TestPause_waitingRetriesGoToTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(2)
		s, _ := g.start(t, func(o *options) {
			o.Workers = 2
			o.Decision = func(context.Context) Decision { return Decision{Retry: Retry{Asked: true, Wait: 10 * time.Second}} }
		})
		(<-s.Output()).Nack()
		(<-s.Output()).Nack()
		synctest.Wait()
		s.SetPaused(true)
		time.Sleep(2 * time.Second) // the read under way ends
		synctest.Wait()
		require.Len(t, g.postponed, 2)
		assert.Greater(t, g.postponed[0].Wait, 8*time.Second)
		assert.Zero(t, s.held())
		s.Close()
	})
}

// ShouldClaim is not asked about our own entries.
func TestPause_claimsWhatItReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(9)
		s, _ := g.start(t, func(o *options) {
			o.ShouldClaim = func(stream.PendingEntry) bool { return false }
		})
		handle(s.Output(), 3, time.Millisecond)
		s.SetPaused(true)
		time.Sleep(time.Second)
		s.SetPaused(false)
		assert.Equal(t, []string{"4-0", "5-0", "6-0", "7-0", "8-0", "9-0"}, handle(s.Output(), 6, time.Millisecond))
		s.Close()
	})
}

// Pauses come at any time. No message is handed out while one lasts, none is with two handlers, and the order of each
// key stays.
func TestPause_atAnyTime(t *testing.T) { //nolint:gocognit // one scenario
	t.Parallel()
	for round := range 60 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			const total = 9
			g := newPausable(total)
			s, _ := g.start(t, func(o *options) {
				o.Workers, o.ClaimInterval = c4(round), 5*time.Millisecond
				if round%2 == 0 {
					o.Key = func(msg *message.Message) string { return fmt.Sprint(int(msg.UUID[0]) % 3) }
				}
				o.Backoff = func(int) time.Duration { return time.Duration(rand.N(2)) * time.Millisecond }
			})
			var mu sync.Mutex
			acked, with := map[string]bool{}, map[string]bool{}
			done := make(chan struct{})
			var handlers sync.WaitGroup
			for range 4 {
				handlers.Go(func() {
					for msg := range s.Output() {
						mu.Lock()
						assert.False(t, with[msg.UUID], "two handlers have it")
						assert.False(t, acked[msg.UUID], "it is acked")
						with[msg.UUID] = true
						mu.Unlock()
						time.Sleep(time.Duration(rand.N(300)) * time.Microsecond)
						mu.Lock()
						delete(with, msg.UUID)
						if rand.N(3) == 0 {
							msg.Nack()
						} else {
							acked[msg.UUID] = true
							msg.Ack()
							if len(acked) == total {
								close(done)
							}
						}
						mu.Unlock()
					}
				})
			}
			for running := true; running; {
				s.SetPaused(true)
				time.Sleep(time.Duration(rand.N(500)) * time.Microsecond)
				s.SetPaused(false)
				select {
				case <-done:
					running = false
				case <-time.After(time.Duration(rand.N(1000)) * time.Microsecond):
				}
			}
			s.SetPaused(true)
			s.Close()
			handlers.Wait()
			assert.Equal(t, total, g.acked())
			g.mu.Lock()
			defer g.mu.Unlock()
			assert.Empty(t, g.pending)
		})
	}
}

// Pauses, resumes and the end come together. Whatever is not acknowledged is released.
func TestPause_racesWithTheEnd(t *testing.T) {
	t.Parallel()
	for round := range 60 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			g := newPausable(9)
			o, _ := g.options()
			o.Workers, o.CloseTimeout = c4(round), 50*time.Millisecond
			o.Backend = o.Group
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := Start(ctx, o.Config)
			var others sync.WaitGroup
			others.Go(func() {
				for msg := range s.Output() {
					if rand.N(2) == 0 {
						msg.Nack()
					} else {
						msg.Ack()
					}
				}
			})
			for range 2 {
				others.Go(func() {
					for range 50 {
						s.SetPaused(rand.N(2) == 0)
					}
				})
			}
			time.Sleep(time.Duration(rand.N(500)) * time.Microsecond)
			if round%2 == 0 {
				cancel()
			}
			s.Close()
			others.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			for id := range g.pending {
				assert.Contains(t, g.released, id)
			}
		})
	}
}

// What a handler nacks while entries are handed back is not withdrawn yet: it may not go to the retry
// queue, because it would be delivered from memory too if the pause ended just then.
func TestPause_postponesOnlyWhatIsWithdrawn(t *testing.T) {
	t.Parallel()
	b := newInbox(2, unordered)
	b.add(arrival{entries: []entry{{Entry: stream.Entry{ID: "1-0", Deliveries: 1}}, {Entry: stream.Entry{ID: "2-0", Deliveries: 1}}}})
	first, second := b.take(), b.take()
	later := Retry{Asked: true, Wait: time.Hour}
	b.retryLater(first, 0, later)
	b.setPaused(true)
	require.True(t, b.withdraw(true))
	b.retryLater(second, 0, later)
	b.leases(func(table *leaseTable) {
		waiting := table.waiting(releasing)
		require.Len(t, waiting, 1)
		assert.Equal(t, "1-0", waiting[0].ID)
	})
	b.close()
}

// The retry queue and the release fail until the pause is over: the message waits here for as long as
// its handler asked.
func TestPause_waitingRetryCannotBeHandedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPausable(1)
		g.postpone = func() (stream.PostponeResult, error) { return 0, errDown }
		s, _ := g.start(t, func(o *options) {
			o.Decision = func(context.Context) Decision { return Decision{Retry: Retry{Asked: true, Wait: 10 * time.Second}} }
		})
		nacked := time.Now()
		(<-s.Output()).Nack()
		synctest.Wait()
		s.SetPaused(true)
		time.Sleep(2 * time.Second)
		s.SetPaused(false)
		msg := <-s.Output()
		assert.GreaterOrEqual(t, time.Since(nacked), 10*time.Second)
		msg.Ack()
		s.Close()
		assert.Equal(t, 1, g.acked())
	})
}

// A read that blocks for long does not hold up the release, also if the group can't be paused.
func TestPause_releasesDuringALongRead(t *testing.T) {
	t.Parallel()
	for _, canBePaused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newPausable(1)
			s, _ := g.start(t, func(o *options) {
				o.CanBePaused = canBePaused
				o.Workers, o.BlockTime, o.ClaimInterval = 2, time.Hour, time.Hour
				o.Backoff = func(int) time.Duration { return time.Hour }
			})
			(<-s.Output()).Nack()
			time.Sleep(5 * time.Second)
			s.SetPaused(true)
			time.Sleep(2 * time.Second)
			assert.Equal(t, map[string]int64{"1-0": 1}, g.releasedNow())
			s.Close()
		})
	}
}
