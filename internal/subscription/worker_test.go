package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNack_waitsInPlaceAndKeepsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		var attempts []int
		s, _ := g.start(t, func(c *options) {
			c.Backoff = func(attempt int) time.Duration {
				attempts = append(attempts, attempt)
				return time.Duration(attempt) * time.Second
			}
		})
		began := time.Now()
		for range 3 {
			msg := <-s.Output()
			require.Equal(t, "1-0", msg.UUID)
			msg.Nack()
		}
		msg := <-s.Output()
		require.Equal(t, "1-0", msg.UUID)
		assert.Equal(t, 6*time.Second, time.Since(began))
		assert.Equal(t, []int{1, 2, 3}, attempts)
		msg.Ack()
		assert.Equal(t, "2-0", (<-s.Output()).UUID)
		s.Close()
		assert.Equal(t, map[string]int64{"3-0": 0}, g.released)
		assert.Equal(t, []string{"2-0"}, g.kept, "its handler may still be at work")
	})
}

func TestNack_otherMessagesContinueWithoutOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(100)
		s, _ := g.start(t, func(c *options) {
			c.Workers = 2
			c.Backoff = func(int) time.Duration { return time.Hour }
		})
		var nacked []string
		for range 2 {
			msg := <-s.Output()
			nacked = append(nacked, msg.UUID)
			msg.Nack()
		}
		began := time.Now()
		work(s.Output(), 98, 0)
		assert.Less(t, time.Since(began), time.Minute)
		assert.Contains(t, nacked, (<-s.Output()).UUID)
		s.Close()
	})
}
