package subscription

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Close waits for a periodic task that hangs and for running handlers at the same time.
func TestClose_aTaskThatHangsDoesNotAddToTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *options) {
			c.ConsumerTimeout = 2 * time.Second
			g.removeIdle = func() error {
				time.Sleep(8 * time.Second) // like a client that ignores contexts
				return nil
			}
			c.CloseTimeout = 5 * time.Second
		})
		<-s.Output() // never acked
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		began := time.Now()
		s.Close()
		assert.LessOrEqual(t, time.Since(began), s.CloseTimeout+time.Second)
		time.Sleep(10 * time.Second) // the task ends
	})
}

func TestClose_waitsForHandlersAndKeepsTheirLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *options) { c.CloseTimeout = time.Hour })
		msg := <-s.Output()
		go s.Close()
		time.Sleep(40 * time.Minute)
		require.NoError(t, msg.Context().Err())
		g.locked(func() { assert.GreaterOrEqual(t, len(g.holds), int(39*time.Minute/(minIdle/2))) })
		msg.Ack()
		<-s.Ended().Done()
		assert.Equal(t, 1, g.acked())
		assert.Empty(t, g.released)
	})
}

// Close ends everything that a subscription can wait for.
func TestClose_endsEveryWait(t *testing.T) {
	t.Parallel()
	for name, stuck := range map[string]func(g *fakeGroup, c *options){
		"blocked read":    func(_ *fakeGroup, c *options) { c.BlockTime, c.ClaimInterval = time.Hour, time.Hour },
		"nobody receives": func(g *fakeGroup, _ *options) { g.add(100) },
		"server down":     func(g *fakeGroup, _ *options) { g.locked(func() { g.fail = errDown }) },
		"undecodable": func(g *fakeGroup, c *options) {
			g.add(1)
			c.Decode = func(stream.Entry) (*message.Message, error) { return nil, errDown }
		},
		"long pending list":    func(g *fakeGroup, _ *options) { g.foreignRows(5000) },
		"many workers waiting": func(_ *fakeGroup, c *options) { c.Workers = 64 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					g := newFakeGroup(0)
					s, _ := g.start(t, func(c *options) { stuck(g, c) })
					time.Sleep(after)
					began := time.Now()
					s.Close()
					s.Close()
					assert.Zero(t, time.Since(began))
					_, open := <-s.Output()
					assert.False(t, open)
					assert.Equal(t, 1, g.releases)
				})
			}
		})
	}
}

// A subscription that delivers, acks, nacks and loses entries is closed at many moments. Each entry
// is either acknowledged once or released.
func TestClose_atAnyMoment(t *testing.T) {
	t.Parallel()
	for round := range 200 {
		synctest.Test(t, func(t *testing.T) {
			const total = 300
			g := newFakeGroup(total)
			s, _ := g.start(t, func(c *options) {
				c.Workers = 1 + round%4
				c.Backoff = func(int) time.Duration { return time.Millisecond }
			})
			var handlers sync.WaitGroup
			for range c4(round) {
				handlers.Go(func() {
					for msg := range s.Output() {
						time.Sleep(time.Duration(round%7) * 300 * time.Microsecond)
						if len(msg.UUID)%3 == 0 && round%2 == 0 && time.Now().UnixNano()%3 == 0 {
							msg.Nack()
						} else {
							msg.Ack()
						}
					}
				})
			}
			time.Sleep(time.Duration(round) * 137 * time.Microsecond)
			s.Close()
			handlers.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			for id := range g.pending {
				assert.Contains(t, g.released, id)
			}
			for id := range g.released {
				assert.True(t, g.pending[id], "released although acknowledged")
			}
		})
	}
}

func c4(round int) int { return 1 + round%4 }
