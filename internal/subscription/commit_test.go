package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commit commits a message with a result of the server.
func (g *fakeGroup) commitWith(ctx context.Context, result stream.CommitResult, err error) error {
	g.locked(func() { g.commit = func() (stream.CommitResult, error) { return result, err } })
	return ctx.(Delivery).Commit(ctx, nil)
}

// The server has acknowledged a committed entry, so it does not list it as ours. That is no loss.
func TestCommit_committedEntryIsNotLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		s, log := g.start(t, nil)
		msg := <-s.Output()
		require.NoError(t, g.commitWith(msg.Context(), stream.CommitDone, nil))
		g.locked(func() { g.lost[msg.UUID] = true })
		time.Sleep(2 * minIdle)
		require.NoError(t, msg.Context().Err())
		require.ErrorIs(t, g.commitWith(msg.Context(), stream.CommitDone, nil), ErrNotHeld)
		msg.Nack()
		next := <-s.Output()
		assert.Equal(t, "2-0", next.UUID, "it is not redelivered")
		next.Ack()
		synctest.Wait()
		s.Close()
		assert.Zero(t, log.Count("level=ERROR"))
		assert.Equal(t, 1, log.Count("nacked after it was committed"))
		assert.Equal(t, 1, g.acked(), "a committed one needs no ack")
	})
}

// A renewal that comes between the script and its reply finds the entry acknowledged.
func TestCommit_renewalWhileItIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, log := g.start(t, nil)
		msg := <-s.Output()
		release := make(chan struct{})
		g.locked(func() {
			g.lost[msg.UUID] = true
			g.commit = func() (stream.CommitResult, error) {
				g.mu.Unlock()
				<-release
				g.mu.Lock()
				return stream.CommitDone, nil
			}
		})
		result := make(chan error)
		go func() { result <- msg.Context().(Delivery).Commit(context.Background(), nil) }()
		time.Sleep(minIdle)
		require.ErrorContains(t, msg.Context().(Delivery).Commit(t.Context(), nil), "under way")
		require.NoError(t, msg.Context().Err())
		close(release)
		require.NoError(t, <-result)
		msg.Ack()
		synctest.Wait()
		s.Close()
		assert.Zero(t, log.Count("level=ERROR"))
	})
}

// After a Commit that found the entry with another consumer, the handler's ack is not sent.
func TestCommit_notHeld(t *testing.T) {
	t.Parallel()
	for name, lostBefore := range map[string]bool{"the script finds it": false, "a renewal finds it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(2)
				s, _ := g.start(t, nil)
				msg := <-s.Output()
				if lostBefore {
					g.locked(func() { g.lost[msg.UUID] = true })
					time.Sleep(minIdle)
					require.Error(t, msg.Context().Err())
				}
				require.ErrorIs(t, g.commitWith(msg.Context(), stream.CommitNotHeld, nil), ErrNotHeld)
				require.Error(t, msg.Context().Err())
				msg.Ack()
				next := <-s.Output()
				assert.Equal(t, "2-0", next.UUID)
				assert.Zero(t, g.acked())
				next.Ack()
				synctest.Wait()
				s.Close()
				assert.NotContains(t, g.released, "1-0")
			})
		})
	}
}

// Late handlers: what Commit decided counts after Close, too.
func TestCommit_late(t *testing.T) {
	t.Parallel()
	for _, result := range []stream.CommitResult{stream.CommitDone, stream.CommitNotHeld} {
		synctest.Test(t, func(t *testing.T) {
			g := newFakeGroup(1)
			s, log, msg := closeWithHandler(t, g)
			g.locked(func() { g.commit = func() (stream.CommitResult, error) { return result, nil } })
			_ = msg.Context().(Delivery).Commit(context.Background(), nil)
			msg.Ack()
			time.Sleep(longestLateCheck)
			assert.False(t, isOpen(s.Output()))
			assert.Zero(t, g.acked())
			assert.Zero(t, log.Count("level=ERROR"))
		})
	}
}

// A lost reply is no riddle while the lease lasts.
func TestCommit_lostReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		s, log := g.start(t, nil)
		msg := <-s.Output()
		require.NoError(t, g.commitWith(msg.Context(), stream.CommitSettled, nil), "nobody else can have acknowledged it")
		msg.Ack()
		msg = <-s.Output()
		g.locked(func() {
			g.commit = func() (stream.CommitResult, error) {
				g.mu.Unlock()
				time.Sleep(2 * minIdle) // the process stood still
				g.mu.Lock()
				return stream.CommitSettled, nil
			}
		})
		require.ErrorIs(t, msg.Context().(Delivery).Commit(t.Context(), nil), ErrUncertain)
		msg.Nack()
		msg = <-s.Output()
		assert.Equal(t, "3-0", msg.UUID, "it is acknowledged, whoever did it")
		err := g.commitWith(msg.Context(), stream.CommitUncertain, errDown)
		require.ErrorIs(t, err, ErrUncertain)
		require.ErrorIs(t, err, errDown)
		g.locked(func() { g.lost[msg.UUID] = true })
		msg.Nack()
		time.Sleep(time.Minute)
		synctest.Wait()
		s.Close()
		assert.Zero(t, log.Count("lost while they were held"), "it was committed")
	})
}

// Without acks there is nothing to commit.
func TestCommit_autoAck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(o *options) { o.Backend = AutoAckGroup{Membership: o.Membership} })
		msg := <-s.Output()
		require.ErrorIs(t, msg.Context().(Delivery).Commit(t.Context(), nil), ErrNoAcks)
		msg.Ack()
		s.Close()
	})
}
