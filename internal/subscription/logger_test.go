package subscription

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLines_startAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		s, log := g.start(t, nil)
		work(s.Output(), 3, time.Second)
		s.Close()
		require.Len(t, log.Lines(), 2, log.Lines())
		assert.Equal(t, 1, log.Count("subscription started"))
		assert.Equal(t, 1, log.Count("subscription ended"))
	})
}

// A log line is written when a handler has a message for 5, 10, 20 minutes and so on.
func TestLines_longHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(2)
		s, log := g.start(t, nil)
		msg := <-s.Output()
		const text = "a handler has had a message for long"
		now := time.Duration(0)
		for _, look := range []struct {
			minute int
			lines  int
		}{{4, 0}, {6, 1}, {9, 1}, {12, 2}, {19, 2}, {24, 3}, {39, 3}, {48, 4}} {
			at := time.Duration(look.minute) * time.Minute
			time.Sleep(at - now)
			now = at
			assert.Equal(t, look.lines, log.Count(text), fmt.Sprint(look.minute))
		}
		assert.Equal(t, 4, log.Count("entry=1-0"))
		msg.Ack()
		msg = <-s.Output()
		time.Sleep(4 * time.Minute)
		msg.Ack()
		synctest.Wait()
		s.Close()
		assert.Equal(t, 4, log.Count(text))
	})
}

// A log line is written when a message is delivered 10, 100 and 1,000 times without an ack.
func TestLines_manyDeliveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, log := g.start(t, func(c *options) {
			c.Decision = func(context.Context) Decision { return Decision{Failure: errors.New("out of milk")} }
		})
		const text = "message was delivered many times"
		for n := 1; n <= 1200; n++ {
			msg := <-s.Output()
			switch n - 1 {
			case 9, 99, 999:
				assert.Equal(t, len(fmt.Sprint(n-1))-1, log.Count(text), n)
			case 10, 100, 1000:
				assert.Equal(t, len(fmt.Sprint(n-1))-1, log.Count(text), n)
			}
			msg.Nack()
		}
		(<-s.Output()).Ack()
		synctest.Wait()
		s.Close()
		assert.Equal(t, 3, log.Count(text))
		assert.Equal(t, 3, log.Count("message_uuid=1-0"))
		assert.Equal(t, 3, log.Count("out of milk"))
	})
}

// Deliveries that ended in a crash count too: the tenth one is logged.
func TestLines_manyDeliveriesByCrashes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		g.foreign = []stream.PendingEntry{{ID: "5-0", Consumer: "dead", Deliveries: 10, Idle: time.Hour}}
		s, log := g.start(t, nil)
		(<-s.Output()).Ack()
		synctest.Wait()
		s.Close()
		assert.Equal(t, 1, log.Count("message was delivered many times"))
	})
}

func TestLines_takenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		for i := range 50 {
			g.foreign = append(g.foreign, stream.PendingEntry{
				ID: fmt.Sprintf("%d-0", 100+i), Consumer: []string{"one", "two"}[i%2], Deliveries: 1, Idle: time.Hour,
			})
		}
		s, log := g.start(t, func(c *options) { c.Workers = 10 })
		work(s.Output(), 50, time.Millisecond)
		time.Sleep(time.Minute)
		s.Close()
		assert.Equal(t, 1, log.Count("from_consumer=one"), log.Lines())
		assert.Equal(t, 1, log.Count("from_consumer=two"))
		assert.Equal(t, 2, log.Count("count=25"))
		assert.Equal(t, 2, log.Count("idle_for=1h0m0s"))
	})
}

// If many entries can't be dead-lettered, one line is logged, and one when that works again.
func TestLines_deadLetterOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(500)
		down, moved := true, 0 // guarded by the lock of the group
		s, log := g.start(t, func(c *options) {
			c.Decode = func(stream.Entry) (*message.Message, error) { return nil, errors.New("foreign") }
			c.DeadLetters = toDeadLetters()
			g.deadLetter = func() (stream.DeadLetterResult, error) {
				g.mu.Lock()
				defer g.mu.Unlock()
				if down {
					return stream.DeadLetterNotOwned, serverError("WRONGTYPE of the dead letters")
				}
				moved++
				return stream.DeadLetterMoved, nil
			}
		})
		time.Sleep(5 * time.Minute)
		require.Equal(t, 1, log.Count("level=ERROR"))
		assert.Equal(t, 1, log.Count("dead-lettering failed"))
		assert.Equal(t, 1, log.Count("WRONGTYPE of the dead letters"))
		assert.Equal(t, 1, log.Count("foreign"))
		g.locked(func() { down = false })
		time.Sleep(10 * time.Minute)
		s.Close()
		g.locked(func() { assert.Equal(t, 500, moved) })
		assert.Equal(t, 1, log.Count("dead-lettering works again"))
		assert.Equal(t, 500, log.Count("entry dead-lettered"))
	})
}
