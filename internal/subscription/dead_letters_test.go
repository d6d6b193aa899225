package subscription

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

func TestDeadLetter_triedLaterAndLaterWhenItFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(10)
		tries := 0
		s, log := g.start(t, func(c *options) {
			c.Decode = func(e stream.Entry) (*message.Message, error) {
				if e.ID == "5-0" {
					return nil, errors.New("foreign")
				}
				return message.NewMessage(e.ID, nil), nil
			}
			c.DeadLetters = toDeadLetters()
			g.deadLetter = func() (stream.DeadLetterResult, error) {
				tries++
				return stream.DeadLetterNotOwned, errDown
			}
		})
		work(s.Output(), 9, 0)
		synctest.Wait()
		assert.Equal(t, 9, g.acked())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 20, tries, "1 s, 2 s, 4 s ... 5 min")
		assert.Equal(t, 1, log.Count("dead-lettering failed"))
		s.inbox.mu.Lock()
		assert.Zero(t, s.inbox.table.entries["5-0"].Fields, "there may be any number of such")
		assert.Zero(t, s.inbox.table.bytes)
		s.inbox.mu.Unlock()
		s.Close()
		assert.EqualValues(t, 0, g.released["5-0"])
	})
}

func TestUndecodable_skippedWhereThereAreNoDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		s, log := g.start(t, func(c *options) {
			c.Backend = Fanout{Stream: g, Delayed: NoDelayed{}}
			c.Decode = func(e stream.Entry) (*message.Message, error) {
				if e.ID == "2-0" {
					return nil, errors.New("foreign")
				}
				return message.NewMessage(e.ID, nil), nil
			}
		})
		work(s.Output(), 2, 0)
		assert.Equal(t, 1, log.Count("entry skipped"))
		synctest.Wait()
		s.Close()
	})
}
