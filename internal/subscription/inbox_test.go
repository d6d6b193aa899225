package subscription

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

func TestReadAhead_slowHandlerHoldsOnlyWhatItWorksOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1000)
		s, _ := g.start(t, nil)
		for range 50 {
			msg := <-s.Output()
			time.Sleep(60 * time.Millisecond)
			synctest.Wait()
			assert.Zero(t, s.waiting())
			msg.Ack()
		}
		s.Close()
	})
}

func TestReadAhead_growsWithSpeedAndShrinksWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(5000)
		s, _ := g.start(t, nil)
		synctest.Wait()
		g.locked(func() { assert.Equal(t, []int{1}, g.reads, "unknown speed: one") })
		work(s.Output(), 2000, time.Millisecond)
		synctest.Wait()
		assert.InDelta(t, 40, s.waiting(), 15, "50 ms of work of 1 ms")
		work(s.Output(), 60, time.Second) // the inbox empties, and the reader reads no more
		synctest.Wait()
		assert.Zero(t, s.waiting())
		s.Close()
	})
}

func TestReadAhead_workersAreFilledFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1000)
		s, _ := g.start(t, func(c *options) { c.Workers, c.Key = 16, nil })
		var running []*message.Message
		for range 16 {
			running = append(running, <-s.Output())
		}
		synctest.Wait()
		assert.Zero(t, s.waiting())
		for _, msg := range running {
			msg.Ack()
		}
		s.Close()
	})
}

func TestReadAhead_bytesAreBounded(t *testing.T) {
	t.Parallel()
	large := string(make([]byte, 1<<20))
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(500)
		for i := range g.entries { // the reader has not started yet
			g.entries[i].Fields = stream.NewFields("data", large)
		}
		s, _ := g.start(t, nil)
		for range 400 {
			(<-s.Output()).Ack()
			synctest.Wait()
			s.inbox.mu.Lock()
			assert.LessOrEqual(t, s.inbox.table.bytes, maxHeldBytes+(1<<21))
			s.inbox.mu.Unlock()
		}
		s.Close()
	})
}

// There are fewer keys than workers. As many workers as there are keys are always busy, reads are
// few, and the inbox keeps its bounds.
func TestFewKeys_readsAreWorthTheirRoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const total, keys = 4000, 4
		g := newFakeGroup(total)
		s, _ := g.start(t, func(c *options) {
			c.Workers = 8
			c.Key = func(msg *message.Message) string { // the last digit, of four
				number := strings.TrimSuffix(msg.UUID, "-0")
				return string(rune('0' + int(number[len(number)-1]-'0')%keys))
			}
		})
		began := time.Now()
		var handlers sync.WaitGroup
		for range total {
			msg := <-s.Output()
			s.inbox.mu.Lock()
			assert.LessOrEqual(t, len(s.inbox.table.entries), maxAhead+8)
			s.inbox.mu.Unlock()
			handlers.Go(func() {
				time.Sleep(time.Millisecond)
				msg.Ack()
			})
		}
		handlers.Wait()
		assert.Less(t, time.Since(began), 1500*time.Millisecond, "the largest key has 3 of 10")
		g.locked(func() { assert.Less(t, len(g.reads), total/16) })
		s.Close()
	})
}
