package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closeWithHandler closes a subscription while a handler has a message. It returns the message
// after Close.
func closeWithHandler(t *testing.T, g *fakeGroup) (*Subscription, *redistest.Log, *message.Message) {
	t.Helper()
	s, log := g.start(t, nil)
	msg := <-s.Output()
	began := time.Now()
	s.Close()
	require.Equal(t, s.CloseTimeout, time.Since(began))
	require.Error(t, msg.Context().Err(), "CloseTimeout is over")
	return s, log, msg
}

func isOpen(output <-chan *message.Message) bool {
	synctest.Wait()
	select {
	case _, open := <-output:
		return open
	default:
		return true
	}
}

func TestLate_ackCountsAndClosesTheOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		s, log, msg := closeWithHandler(t, g)
		g.locked(func() { assert.Equal(t, []string{"1-0"}, g.kept) })
		time.Sleep(20 * time.Second)
		require.True(t, isOpen(s.Output()), "the handler may publish")
		msg.Ack()
		time.Sleep(longestLateCheck)
		assert.Equal(t, 1, g.acked())
		assert.False(t, isOpen(s.Output()))
		assert.Zero(t, log.Count("level=ERROR"))
	})
}

func TestLate_nackReleasesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		s, _, msg := closeWithHandler(t, g)
		time.Sleep(time.Second)
		msg.Nack()
		time.Sleep(longestLateCheck)
		synctest.Wait()
		g.locked(func() { assert.EqualValues(t, 1, g.released["1-0"], "the delivery counts") })
		assert.False(t, isOpen(s.Output()))
	})
}

// One handler nacks while another still runs: only the first one's message is released.
func TestLate_nackLeavesTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		s, _ := g.start(t, func(c *options) { c.Workers = 2 })
		first, second := <-s.Output(), <-s.Output()
		s.Close()
		first.Nack()
		time.Sleep(longestLateCheck)
		g.locked(func() { assert.Equal(t, []string{second.UUID}, g.kept) })
		require.True(t, isOpen(s.Output()))
		second.Ack()
		time.Sleep(longestLateCheck)
		assert.Equal(t, 1, g.acked())
		assert.False(t, isOpen(s.Output()))
	})
}

func TestLate_leaseIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, log, msg := closeWithHandler(t, g)
		time.Sleep(s.LateTimeout + longestLateCheck)
		require.False(t, isOpen(s.Output()), "nobody waits for a handler for ever")
		assert.Equal(t, 1, log.Count("handlers still have messages"))
		msg.Ack()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Zero(t, g.acked())
		require.Equal(t, 1, log.Count("level=ERROR"), log.Lines())
		assert.Equal(t, 1, log.Count("an ack came too late"))
		assert.Equal(t, 1, log.Count("entry=1-0"))
	})
}

// The server fails when the handler acks. The ack is sent when it works again.
func TestLate_ackIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _, msg := closeWithHandler(t, g)
		g.locked(func() { g.failAcks = 20 })
		msg.Ack()
		time.Sleep(10 * time.Second)
		assert.Equal(t, 1, g.acked())
		assert.False(t, isOpen(s.Output()))
	})
}

// The handler acks at the moment when Close stops waiting, and the server hangs. Close does not
// wait for the server.
func TestLate_closeDoesNotWaitForTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		var msg *message.Message
		s, _ := g.start(t, func(c *options) {
			c.Stream = &hangingGroup{g}
			g.atRelease = func() { msg.Ack() } // before late handlers are checked
		})
		msg = <-s.Output()
		began := time.Now()
		s.Close()
		assert.Less(t, time.Since(began), s.CloseTimeout+time.Second)
		time.Sleep(time.Minute)
		assert.False(t, isOpen(s.Output()))
	})
}

// hangingGroup is a group on a server that takes half a minute for each ack.
type hangingGroup struct{ *fakeGroup }

// Ack ignores its context, as a client does.
func (g *hangingGroup) Ack(ctx context.Context, ids []string) error {
	time.Sleep(30 * time.Second)
	return g.fakeGroup.Ack(ctx, ids)
}

// A fan-out does not wait, but its handlers may finish before the output is closed.
func TestLate_fanout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *options) {
			c.Backend, c.CloseTimeout, c.LateTimeout = Fanout{Stream: g, Delayed: NoDelayed{}}, 0, 5*time.Second
		})
		msg := <-s.Output()
		began := time.Now()
		s.Close()
		assert.Zero(t, time.Since(began))
		time.Sleep(4 * time.Second)
		require.NoError(t, msg.Context().Err())
		require.True(t, isOpen(s.Output()))
		msg.Ack()
		time.Sleep(longestLateCheck)
		assert.False(t, isOpen(s.Output()))
	})
}

func TestLate_fanoutTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, log := g.start(t, func(c *options) {
			c.Backend, c.CloseTimeout, c.LateTimeout = Fanout{Stream: g, Delayed: NoDelayed{}}, 0, 5*time.Second
		})
		msg := <-s.Output()
		s.Close()
		time.Sleep(s.LateTimeout + longestLateCheck)
		require.False(t, isOpen(s.Output()))
		require.Error(t, msg.Context().Err())
		msg.Ack()
		time.Sleep(time.Minute)
		assert.Zero(t, log.Count("too late"), "there is nothing to acknowledge")
	})
}

// The server takes the ack, but not the release behind it. The ack counts.
func TestLate_releaseFailsAfterTheAck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, log, msg := closeWithHandler(t, g)
		g.locked(func() { g.fail = errDown })
		before := g.releases
		msg.Ack()
		time.Sleep(s.LateTimeout + time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, g.acked())
		assert.False(t, isOpen(s.Output()))
		assert.Greater(t, g.releases, before+1, "the release is tried again")
		assert.Zero(t, log.Count("an ack came too late"), log.Lines())
	})
}
