package subscription

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// HasForeign reports whether others have entries, or fails as all commands do.
func (g *fakeGroup) HasForeign(context.Context) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.foreign) > 0, g.failForeign
}

// fakeOwnership is an ownership in memory. A test sets what the server does.
type fakeOwnership struct {
	acquire func() (stream.OwnerState, error)
	renew   func() error

	freed atomic.Int32 // candidates with it that were discarded, and subscriptions with it that have ended

	mu       sync.Mutex
	since    time.Time
	over     chan struct{}
	acquires int
	renewals int
	released int
}

func newFakeOwnership() *fakeOwnership {
	o := &fakeOwnership{over: make(chan struct{})}
	o.acquire = func() (stream.OwnerState, error) {
		return stream.OwnerState{Owner: "me", Generation: 7, Acquired: true}, nil
	}
	o.renew = func() error { return nil }
	return o
}

func (o *fakeOwnership) Acquire(context.Context) (stream.OwnerState, error) {
	o.mu.Lock()
	acquire := o.acquire
	o.mu.Unlock()
	state, err := acquire()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acquires++
	o.since = time.Now()
	return state, err
}

func (o *fakeOwnership) Renew(ctx context.Context) error {
	sent := time.Now()
	err := cmp.Or(ctx.Err(), o.renew())
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.renewals++
		o.since = sent
	case errors.Is(err, stream.ErrNotOwner):
		o.since = time.Time{}
		close(o.over)
	}
	return err
}

func (o *fakeOwnership) Release(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx.Err() == nil {
		o.released++
	}
	return ctx.Err()
}

func (o *fakeOwnership) Left() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(0, minIdle-time.Since(o.since))
}

func (o *fakeOwnership) Over() <-chan struct{} { return o.over }

func (o *fakeOwnership) counts() (acquires, renewals, released int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acquires, o.renewals, o.released
}

// startExclusive starts an Exclusive of the group. The ownerships are those of its candidates.
func (g *fakeGroup) startExclusive(ctx context.Context, ownerships ...*fakeOwnership) *Exclusive {
	e, _ := g.startExclusiveLogged(ctx, nil, ownerships...)
	return e
}

func (g *fakeGroup) startExclusiveLogged(ctx context.Context, join error, ownerships ...*fakeOwnership) (*Exclusive, *redistest.Log) {
	o, log := g.options()
	next := g.candidates(o, join, ownerships)
	return StartExclusive(ctx, ExclusiveConfig{Candidate: next, Lease: minIdle, Logger: log.Logger()}), log
}

// candidates returns a function that returns a candidate for each of the ownerships; the last one
// again and again. The first of them that joins the group gets an error.
func (g *fakeGroup) candidates(o options, join error, ownerships []*fakeOwnership) func() Candidate {
	n := 0
	return func() Candidate {
		ownership := ownerships[min(n, len(ownerships)-1)]
		n++
		return Candidate{
			Ownership: ownership, Discard: func() { ownership.freed.Add(1) },
			Join: func(context.Context, int64) (Config, error) {
				config := o.Config
				config.Backend = ExclusiveGroup{Group: o.Group, Stream: g, Ownership: ownership}
				config.OnEnd = func() { ownership.freed.Add(1) } // as the name of the consumer is free
				err := join
				join = nil
				return config, err
			},
		}
	}
}

func standsBy() (stream.OwnerState, error) {
	return stream.OwnerState{Owner: "other", Generation: 6, Wait: minIdle}, nil
}

// Whatever the reply to Acquire was, an end in that moment leaves the stream free for others.
func TestExclusive_endsWhileItAcquires(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]func() (stream.OwnerState, error){
		"acquired": newFakeOwnership().acquire,
		"no reply": func() (stream.OwnerState, error) { return stream.OwnerState{}, errDown },
		"another":  standsBy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, o := newFakeGroup(1), newFakeOwnership()
				ctx, cancel := context.WithCancel(t.Context())
				o.acquire = func() (stream.OwnerState, error) {
					cancel()
					return reply()
				}
				e := g.startExclusive(ctx, o)
				<-ctx.Done()
				e.Close()
				_, open := <-e.Output()
				assert.False(t, open)
				_, _, released := o.counts()
				switch name {
				case "acquired":
					assert.Equal(t, 1, g.releases, "the release of the entries frees the stream too")
				case "no reply":
					assert.Equal(t, 1, released)
				default:
					assert.Zero(t, released)
				}
				assert.EqualValues(t, 1, o.freed.Load())
			})
		})
	}
}

// Who stands by looks each half second, and when the lease of the active one is over.
func TestExclusive_standsBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOwnership()
		acquired := o.acquire
		o.acquire = standsBy
		e := newFakeGroup(1).startExclusive(t.Context(), o)
		time.Sleep(10 * time.Second)
		acquires, _, _ := o.counts()
		assert.InDelta(t, 23, acquires, 5)
		began := time.Now()
		o.mu.Lock()
		o.acquire = acquired
		o.mu.Unlock()
		(<-e.Output()).Ack()
		assert.LessOrEqual(t, time.Since(began), standByLook)
		e.Close()
	})
}

// Failures to become the active consumer are one line, and their end is one.
func TestExclusive_acquireFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOwnership()
		acquired, failures := o.acquire, 3
		o.acquire = func() (stream.OwnerState, error) {
			if failures--; failures >= 0 {
				return stream.OwnerState{}, errDown
			}
			return acquired()
		}
		e, log := newFakeGroup(1).startExclusiveLogged(t.Context(), nil, o)
		(<-e.Output()).Ack()
		assert.Equal(t, 1, log.Count("looking for the active consumer of the group failed; retrying"))
		assert.Equal(t, 1, log.Count("looking for the active consumer of the group works again"))
		e.Close()
	})
}

// A consumer that can't join the group gives the stream up, and tries again.
func TestExclusive_joinFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := newFakeOwnership(), newFakeOwnership()
		e, log := newFakeGroup(1).startExclusiveLogged(t.Context(), errDown, first, second)
		began := time.Now()
		(<-e.Output()).Ack()
		assert.Equal(t, outage.LongestPause, time.Since(began))
		_, _, released := first.counts()
		assert.Equal(t, 1, released)
		assert.Equal(t, 1, log.Count("joining the group as its active consumer failed; retrying"))
		assert.Equal(t, 1, log.Count("joining the group as its active consumer works again"))
		assert.EqualValues(t, 1, first.freed.Load())
		e.Close()
	})
}

// Who stands by tries again less and less often in an outage, and logs its begin and its end. It tries
// at once when the lease of the active one is over.
func TestExclusive_standsByInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOwnership()
		acquired := o.acquire
		o.acquire = func() (stream.OwnerState, error) { return stream.OwnerState{}, errDown }
		e, log := newFakeGroup(1).startExclusiveLogged(t.Context(), nil, o)
		time.Sleep(time.Minute)
		acquires, _, _ := o.counts()
		assert.Less(t, acquires, 200)
		o.mu.Lock()
		o.acquire = func() (stream.OwnerState, error) {
			return stream.OwnerState{Owner: "other", Generation: 6, Wait: 10 * time.Millisecond}, nil
		}
		o.mu.Unlock()
		time.Sleep(time.Minute)
		before, _, _ := o.counts()
		time.Sleep(time.Second)
		acquires, _, _ = o.counts()
		assert.InDelta(t, 100, acquires-before, 5)
		o.mu.Lock()
		o.acquire = acquired
		o.mu.Unlock()
		(<-e.Output()).Ack()
		assert.Equal(t, 1, log.Count("failed; retrying"))
		assert.Equal(t, 1, log.Count("works again"))
		assert.Equal(t, 1, log.Count("stands by"))
		e.Close()
	})
}

// The lease is renewed each third of it, also while Close waits for a handler.
func TestExclusive_renews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, o := newFakeGroup(1), newFakeOwnership()
		e := g.startExclusive(t.Context(), o)
		msg := <-e.Output()
		time.Sleep(10*minIdle - time.Millisecond)
		_, renewals, _ := o.counts()
		assert.Equal(t, 29, renewals)
		go e.Close()
		time.Sleep(10*time.Second - time.Millisecond) // CloseTimeout
		_, renewals, _ = o.counts()
		assert.Equal(t, 30, renewals)
		require.NoError(t, msg.Context().Err())
		msg.Ack()
		<-e.Ended().Done()
		assert.Equal(t, 1, g.acked())
	})
}

// The stream is lost: the context of its message ends at once, and the consumer stands by before it
// tries again.
func TestExclusive_lost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		renew func() error
		after time.Duration
	}{
		"another is the owner":     {func() error { return stream.ErrNotOwner }, minIdle / 3},
		"the server does not work": {func() error { return errDown }, minIdle},
		"a renewal hangs": {func() error {
			time.Sleep(time.Hour)
			return errDown
		}, minIdle},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, first, second := newFakeGroup(3), newFakeOwnership(), newFakeOwnership()
				first.renew = c.renew
				e := g.startExclusive(t.Context(), first, second)
				began := time.Now()
				msg := <-e.Output()
				<-msg.Context().Done()
				assert.Equal(t, c.after, time.Since(began))
				time.Sleep(time.Second)
				acquires, _, _ := second.counts()
				assert.Zero(t, acquires, "not before the handler is done")
				msg.Ack()
				synctest.Wait()
				g.locked(func() { g.stopped = false })
				settled := time.Now()
				<-e.Output()
				assert.InDelta(t, lostPause, time.Since(settled), float64(renewGrace))
				assert.Equal(t, 1, func() int { n, _, _ := second.counts(); return n }())
				e.Close()
				time.Sleep(time.Hour) // the renewal that hangs
			})
		})
	}
}

// A handler goes on for longer than CloseTimeout after the stream was lost. What it decides then does
// not reach the server, and nothing is logged of it: the loss was.
func TestExclusive_lostWithALateHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, first, second := newFakeGroup(2), newFakeOwnership(), newFakeOwnership()
		first.renew = func() error { return stream.ErrNotOwner }
		second.acquire = standsBy
		e, log := g.startExclusiveLogged(t.Context(), nil, first, second)
		msg := <-e.Output()
		<-msg.Context().Done()
		time.Sleep(15 * time.Second) // CloseTimeout is over
		synctest.Wait()
		renewed := 0
		g.locked(func() { renewed = len(g.holds) })
		lines := len(log.Lines())
		msg.Ack()
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Zero(t, g.acked())
		g.locked(func() { assert.Len(t, g.holds, renewed, "no lease is renewed") })
		assert.Len(t, log.Lines(), lines)
		assert.Zero(t, log.Count("handlers still have messages"))
		assert.Zero(t, log.Count("an ack came too late"))
		e.Close()
	})
}

// The active consumer claims what others have, at once: when it begins, and after a read. Then these
// entries come before what was read. If it can't learn whether there are any, it looks for them.
func TestExclusive_claimsWhatOthersHave(t *testing.T) {
	t.Parallel()
	for _, fails := range []error{nil, errDown} {
		t.Run(fmt.Sprint("fails: ", fails), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(0)
				g.members = 2
				former := func(id string) { // of a read that a former owner still had under way
					g.foreign = append(g.foreign, stream.PendingEntry{ID: id, Consumer: "former", Deliveries: 1})
				}
				former("0-1")
				e := g.startExclusive(t.Context(), newFakeOwnership())
				msg := <-e.Output()
				assert.Equal(t, "0-1", msg.UUID)
				assert.Less(t, time.Since(g.began), time.Second)
				msg.Ack()
				time.Sleep(time.Minute)
				g.locked(func() {
					former("0-2")
					g.failForeign = fails
				})
				added := time.Now()
				g.add(1)
				for _, want := range []string{"0-2", "1-0"} {
					msg := <-e.Output()
					assert.Equal(t, want, msg.UUID)
					msg.Ack()
				}
				assert.Less(t, time.Since(added), time.Second)
				g.locked(func() { g.failForeign = nil })
				e.Close()
			})
		})
	}
}

// SetPaused holds for the subscription of who becomes the active one later.
func TestExclusive_pausedWhileItStandsBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOwnership()
		e := newFakeGroup(1).startExclusive(t.Context(), o)
		e.SetPaused(true)
		time.Sleep(time.Minute)
		select {
		case <-e.Output():
			assert.Fail(t, "delivered in a pause")
		default:
		}
		e.SetPaused(false)
		(<-e.Output()).Ack()
		e.Close()
	})
}
