package subscription

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeRecord is a record of members in memory. A test adds others.
type fakeRecord struct {
	mu      sync.Mutex
	version int64
	states  map[string]string
}

func newFakeRecord() *fakeRecord { return &fakeRecord{version: 1, states: map[string]string{}} }

func (r *fakeRecord) set(name, state string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.states[name] == state {
		return
	}
	r.version++
	r.states[name] = state
	if state == "" {
		delete(r.states, name)
	}
}

func (r *fakeRecord) state(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[name]
}

func (r *fakeRecord) Version(context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version, nil
}

func (r *fakeRecord) Beat(_ context.Context, beat stream.Beat) (stream.BeatReply, error) {
	r.set(beat.Name, beat.State)
	r.mu.Lock()
	defer r.mu.Unlock()
	return stream.BeatReply{Version: r.version, All: true, Age: time.Hour, Next: beat.Lease, States: maps.Clone(r.states)}, nil
}

func (r *fakeRecord) Leave(_ context.Context, name string) error {
	r.set(name, "")
	return nil
}

// startPartitioned starts a member of a group on a topic with one partition, the stream of the
// fakeGroup. The ownerships are those of its candidates.
func (g *fakeGroup) startPartitioned(ctx context.Context, record *fakeRecord, ownerships ...*fakeOwnership) *Partitioned {
	return g.startPartitionedWith(ctx, record, nil, func() {}, ownerships...)
}

// startPartitionedWith is startPartitioned with the error of the first join, and with a function that is
// called when all has ended.
func (g *fakeGroup) startPartitionedWith(
	ctx context.Context, record *fakeRecord, join error, onEnd func(), ownerships ...*fakeOwnership,
) *Partitioned {
	o, log := g.options()
	next := g.candidates(o, join, ownerships)
	return StartPartitioned(ctx, PartitionedConfig{
		Name: "me", Partitions: 1, Record: record, Candidate: func(int) Candidate { return next() },
		Lease: minIdle, CloseTimeout: 10 * time.Second, OnEnd: onEnd, Logger: log.Logger(),
	})
}

// Whatever fails while a member acquires a partition, it gives the ownership up and tries again.
func TestPartitioned_acquireFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ acquire, join error }{
		"no reply": {acquire: errDown},
		"no join":  {join: errDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				first, second := newFakeOwnership(), newFakeOwnership()
				if c.acquire != nil {
					first.acquire = func() (stream.OwnerState, error) { return stream.OwnerState{}, c.acquire }
				}
				p := newFakeGroup(1).startPartitionedWith(t.Context(), newFakeRecord(), c.join, func() {}, first, second)
				(<-p.Output()).Ack()
				_, _, released := first.counts()
				assert.Equal(t, 1, released)
				assert.EqualValues(t, 1, first.freed.Load())
				p.Close()
			})
		})
	}
}

// A member that finds another owner tries again when that one's lease is over, with another candidate.
func TestPartitioned_anotherOwns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := newFakeOwnership(), newFakeOwnership()
		first.acquire = standsBy
		began := time.Now()
		p := newFakeGroup(1).startPartitioned(t.Context(), newFakeRecord(), first, second)
		(<-p.Output()).Ack()
		assert.InDelta(t, minIdle, time.Since(began), float64(time.Second))
		_, _, released := first.counts()
		assert.Zero(t, released)
		assert.EqualValues(t, 1, first.freed.Load())
		p.Close()
	})
}

// Acquire can be repeated: it does nothing for a partition that is owned. For one that was lost it waits
// for the handler, as long as its context lasts. After the end it gives the ownership up.
func TestPartitioned_acquireAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := newFakeOwnership(), newFakeOwnership()
		var lost atomic.Bool
		first.renew = func() error {
			if lost.Load() {
				return stream.ErrNotOwner
			}
			return nil
		}
		p := newFakeGroup(1).startPartitioned(t.Context(), newFakeRecord(), first, second)
		msg := <-p.Output()
		wait, err := p.Acquire(t.Context(), 0)
		require.NoError(t, err)
		assert.Zero(t, wait)
		lost.Store(true)
		<-msg.Context().Done()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Acquire(short, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		msg.Ack()
		p.Close()
		_, _, before := second.counts()
		_, err = p.Acquire(t.Context(), 0)
		require.ErrorIs(t, err, errEnded)
		_, _, released := second.counts()
		assert.Equal(t, before+1, released)
	})
}

// The reply to Acquire comes when Close has returned. The partition is free for others then.
func TestPartitioned_acquiredAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, o := newFakeGroup(1), newFakeOwnership()
		acquired, replies := o.acquire, make(chan struct{})
		o.acquire = func() (stream.OwnerState, error) {
			<-replies
			return acquired()
		}
		p := g.startPartitioned(t.Context(), newFakeRecord(), o)
		time.Sleep(time.Minute)
		began := time.Now()
		p.Close()
		assert.Equal(t, 10*time.Second+closeGrace, time.Since(began))
		_, open := <-p.Output()
		assert.False(t, open)
		close(replies)
		synctest.Wait()
		_, _, released := o.counts()
		assert.Equal(t, 1, released)
	})
}

// A pause holds for partitions that are acquired in it, and its end for those that are owned.
func TestPartitioned_paused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOwnership()
		acquired, replies := o.acquire, make(chan struct{})
		o.acquire = func() (stream.OwnerState, error) {
			<-replies
			return acquired()
		}
		p := newFakeGroup(1).startPartitioned(t.Context(), newFakeRecord(), o)
		defer p.Close()
		p.SetPaused(true)
		close(replies)
		time.Sleep(time.Minute)
		select {
		case <-p.Output():
			require.FailNow(t, "delivered in a pause")
		default:
		}
		assert.Equal(t, []int{0}, p.Held())
		p.SetPaused(false)
		(<-p.Output()).Ack()
	})
}

// A partition that is given up delivers nothing more. It is released when its running message is
// settled, and not before, whatever CloseTimeout is. The record says so meanwhile.
func TestPartitioned_stop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, o, record := newFakeGroup(3), newFakeOwnership(), newFakeRecord()
		p := g.startPartitioned(t.Context(), record, o)
		msg := <-p.Output()
		p.Stop(0)
		time.Sleep(10 * minIdle)
		select {
		case <-p.Output():
			assert.Fail(t, "delivered after Stop")
		default:
		}
		require.NoError(t, msg.Context().Err())
		assert.Equal(t, []int{0}, p.Held())
		assert.Zero(t, g.releases)
		_, renewals, _ := o.counts()
		assert.InDelta(t, 30, renewals, 1, "the lease goes on")
		msg.Ack()
		synctest.Wait()
		assert.Equal(t, 1, g.acked())
		assert.Equal(t, 1, g.releases)
		p.Close()
	})
}

// A partition that is lost is not held any more, from that moment on. The context of its message ends.
// The member acquires it again when the handler is done, and a read of before is over.
func TestPartitioned_lost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, first, second := newFakeGroup(3), newFakeOwnership(), newFakeOwnership()
		first.renew = func() error { return stream.ErrNotOwner }
		p := g.startPartitioned(t.Context(), newFakeRecord(), first, second)
		msg := <-p.Output()
		<-msg.Context().Done()
		synctest.Wait()
		assert.Empty(t, p.Held())
		time.Sleep(time.Second)
		acquires, _, _ := second.counts()
		assert.Zero(t, acquires, "not before the handler is done")
		msg.Ack()
		synctest.Wait()
		g.locked(func() { g.stopped = false })
		settled := time.Now()
		<-p.Output()
		assert.InDelta(t, lostPause, time.Since(settled), float64(renewGrace))
		p.Close()
	})
}

// Close settles what runs, releases the partition and leaves the record.
func TestPartitioned_close(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, record := newFakeGroup(3), newFakeRecord()
		o, ended := newFakeOwnership(), 0
		p := g.startPartitionedWith(t.Context(), record, nil, func() { ended++ }, o)
		msg := <-p.Output()
		began := time.Now()
		go p.Close()
		time.Sleep(time.Second)
		assert.NotEmpty(t, record.state("me"))
		msg.Ack()
		<-p.Ended().Done()
		assert.Less(t, time.Since(began), 2*time.Second)
		_, open := <-p.Output()
		assert.False(t, open)
		assert.Equal(t, 1, g.acked())
		assert.Equal(t, 1, g.releases)
		assert.Empty(t, record.state("me"))
		assert.Equal(t, 1, ended)
		assert.EqualValues(t, 1, o.freed.Load(), "the end of the subscription is told, too")
	})
}

// A handler that does not end delays Close by CloseTimeout, and a little more.
func TestPartitioned_closeWithALateHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		p := g.startPartitioned(t.Context(), newFakeRecord(), newFakeOwnership())
		msg := <-p.Output()
		began := time.Now()
		p.Close()
		assert.LessOrEqual(t, time.Since(began), 10*time.Second+closeGrace)
		msg.Ack()
		_, open := <-p.Output()
		assert.False(t, open)
		assert.Equal(t, 1, g.acked())
	})
}
