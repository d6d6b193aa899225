package subscription

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
)

// Fewer keys than lanes: those lanes that can work are always busy, with few reads, and no more is held than may be.
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
