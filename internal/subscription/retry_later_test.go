package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// retrying makes every handler ask for a retry.
func retrying(wait time.Duration) func(*options) {
	return func(c *options) {
		c.Decision = func(context.Context) Decision { return Decision{Retry: Retry{Asked: true, Wait: wait}} }
	}
}

// A wait of up to half a lease passes in memory, a longer one in the retry queue.
func TestRetryLater_whereAMessageWaits(t *testing.T) {
	t.Parallel()
	for wait, inQueue := range map[time.Duration]bool{0: false, minIdle / 2: false, minIdle/2 + 1: true, time.Hour: true} {
		t.Run(wait.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(1)
				s, _ := g.start(t, retrying(wait))
				began := time.Now()
				(<-s.Output()).Nack()
				synctest.Wait()
				if inQueue {
					g.locked(func() {
						lease := stream.Lease{ID: "1-0", Deliveries: 1}
						assert.Equal(t, []stream.Postponement{{Lease: lease, Wait: wait}}, g.postponed)
					})
					assert.Zero(t, s.waiting(), "nothing of it is left here")
				} else {
					msg := <-s.Output()
					assert.Equal(t, wait, time.Since(began))
					assert.Empty(t, g.postponed)
					msg.Ack()
				}
				s.Close()
			})
		})
	}
}

// Messages that wait in memory are few, so that new ones are still read.
func TestRetryLater_fewWaitInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(10 * maxWaiting)
		s, _ := g.start(t, func(c *options) {
			retrying(minIdle / 2)(c)
			c.Workers = 2
		})
		for range 10 * maxWaiting {
			(<-s.Output()).Nack()
		}
		synctest.Wait()
		g.locked(func() { assert.InDelta(t, 9*maxWaiting, len(g.postponed), 2) })
		s.Close()
		g.locked(func() { assert.Len(t, g.postponed, 10*maxWaiting, "Close puts the others into the queue") })
	})
}

// What cannot be put into the queue waits here, and its lease is renewed. Others go on.
func TestRetryLater_queueFails(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(g *fakeGroup){
		"refused": func(g *fakeGroup) {
			g.postpone = func() (stream.PostponeResult, error) { return 0, serverError("NOPERM") }
		},
		"down": func(g *fakeGroup) { g.postpone = func() (stream.PostponeResult, error) { return 0, errDown } },
		"trimmed": func(g *fakeGroup) {
			g.postpone = func() (stream.PostponeResult, error) { return stream.PostponedTrimmed, nil }
		},
		"large": func(g *fakeGroup) {
			g.postpone = func() (stream.PostponeResult, error) { return stream.PostponedTooLarge, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(2)
				refuse(g)
				s, log := g.start(t, retrying(time.Hour))
				began := time.Now()
				(<-s.Output()).Nack()
				next := <-s.Output()
				assert.Equal(t, "2-0", next.UUID, "it does not wait, though order is strict")
				next.Ack()
				again := <-s.Output()
				assert.Equal(t, "1-0", again.UUID)
				assert.Equal(t, time.Hour, time.Since(began))
				again.Ack()
				assert.Equal(t, 1, log.Count("could not be put into the retry queue of the group; they wait in this process"))
				g.locked(func() { assert.NotEmpty(t, g.holds) })
				s.Close()
			})
		})
	}
}

// An entry that another consumer has is its new owner's.
func TestRetryLater_notOwned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		g.postpone = func() (stream.PostponeResult, error) { return stream.PostponedNotOwned, nil }
		s, log := g.start(t, retrying(time.Hour))
		(<-s.Output()).Nack()
		(<-s.Output()).Ack()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.Zero(t, s.waiting())
		assert.Zero(t, log.Count("level=ERROR"))
		s.Close()
	})
}

// The reader takes what is due when it is due: the pauses of reads end then, and a queue whose next
// message is far away is not asked again.
func TestRetryQueue_takesInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const first, second = 400 * time.Millisecond, 700 * time.Millisecond
		g := newFakeGroup(0)
		g.inQueue = true
		began := time.Now()
		var asked []time.Duration
		retried := func(id string) []stream.Entry {
			return []stream.Entry{{ID: id, Deliveries: 2, Counted: 1, Claimed: true}}
		}
		g.takeRetries = func() ([]stream.Entry, time.Duration, error) {
			now := time.Since(began)
			asked = append(asked, now)
			switch {
			case now < first:
				return nil, first - now, nil
			case now < second:
				return retried("1-0"), second - now, nil
			default:
				g.locked(func() { g.inQueue = false })
				return retried("2-0"), -1, nil
			}
		}
		s, _ := g.start(t, nil)
		(<-s.Output()).Ack()
		assert.Equal(t, first, time.Since(began))
		(<-s.Output()).Ack()
		assert.Equal(t, second, time.Since(began))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.LessOrEqual(t, len(asked), 4, "%v", asked)
		s.Close()
	})
}

// A server that refuses the queue does not keep new entries from being read.
func TestRetryQueue_refused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(100)
		g.inQueue = true
		tries := 0
		g.takeRetries = func() ([]stream.Entry, time.Duration, error) {
			tries++
			return nil, 0, serverError("WRONGTYPE")
		}
		s, log := g.start(t, nil)
		work(s.Output(), 100, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Less(t, tries, 200)
		assert.Equal(t, 1, log.Count("taking messages of the retry queue failed"))
		s.Close()
	})
}
