package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/stretchr/testify/assert"
)

func TestOutage_oneLineWhenItBeginsAndOneWhenItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		s, log := g.start(t, nil)
		g.mu.Lock()
		g.fail = errDown
		g.mu.Unlock()
		time.Sleep(10 * time.Minute)
		g.mu.Lock()
		assert.InDelta(t, 600/0.75, g.fails, 100, "capped backoff")
		g.fail = nil
		g.mu.Unlock()
		g.add(1)
		began := time.Now()
		work(s.Output(), 1, 0)
		assert.LessOrEqual(t, time.Since(began), outage.LongestPause)
		synctest.Wait()
		assert.Equal(t, 1, log.Count("level=ERROR"))
		assert.Equal(t, 1, log.Count("works again"))
		s.Close()
	})
}

func TestOutage_groupThatCannotBeCreatedAgainIsOneLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		tries := 0
		g.recreate = func() (string, error) { tries++; return "", errDown }
		s, log := g.start(t, nil)
		g.locked(func() { g.fail = serverError("NOGROUP no such group") })
		time.Sleep(10 * time.Minute)
		g.locked(func() { g.fail = nil })
		time.Sleep(time.Minute)
		s.Close()
		assert.Greater(t, tries, 100)
		assert.Equal(t, 1, log.Count("level=ERROR"))
		assert.Equal(t, 1, log.Count("creating the consumer group again failed"))
	})
}
