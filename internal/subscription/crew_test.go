package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
)

func (s *Subscription) workers() int {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return s.inbox.crew.running
}

// Workers are started for entries, and end when they were not needed for some time.
func TestCrew_followsTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		s, _ := g.start(t, func(o *options) { o.Workers = 16 })
		time.Sleep(minIdle)
		assert.Zero(t, s.workers())
		for range 3 {
			var messages []*message.Message
			g.add(20)
			for range 16 {
				messages = append(messages, <-s.Output())
			}
			synctest.Wait()
			assert.Equal(t, 16, s.workers(), "not more than may be in flight")
			for _, msg := range messages {
				msg.Ack()
			}
			work(s.Output(), 4, 0)
			time.Sleep(2*crewCheck + time.Second)
			synctest.Wait()
			assert.Zero(t, s.workers())
		}
		s.Close()
	})
}

// A worker that is needed stays.
func TestCrew_keepsThoseThatAreNeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		s, _ := g.start(t, func(o *options) { o.Workers = 16 })
		g.add(4)
		held := []*message.Message{<-s.Output(), <-s.Output(), <-s.Output()}
		(<-s.Output()).Ack()
		time.Sleep(3 * crewCheck)
		synctest.Wait()
		assert.Equal(t, len(held), s.workers())
		for _, msg := range held {
			msg.Nack() // each is redelivered, by a worker that is there
		}
		work(s.Output(), len(held), 0)
		s.Close()
	})
}
