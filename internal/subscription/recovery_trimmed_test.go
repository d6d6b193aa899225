package subscription

import (
	"fmt"
	"testing"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// simulated is a stream whose entries have the IDs 1-0, 2-0 and so on.
type simulated struct {
	added, first, read int64
	counted            int64 // entries-read, as the server counts
	exact              bool  // the server counts what was trimmed unread
}

func (s *simulated) add(n int64)  { s.added += n }
func (s *simulated) trim(n int64) { s.first = max(s.first, s.added-n+1) }
func (s *simulated) hand(n int64) {
	s.read = max(s.read, s.first-1) + n
	s.counted += n
	if s.exact || s.counted < n { // the count was not known before
		s.counted = s.read
	}
}

func (s *simulated) countAgain(w *trimmedUnread) int64 {
	id := func(n int64) string { return fmt.Sprint(n, "-0") }
	length := s.added - s.first + 1
	return w.count(stream.GroupInfo{LastDelivered: id(s.read), Read: s.counted},
		stream.Info{Added: s.added, Length: length, First: id(s.first), Last: id(s.added)})
}

func TestTrimmedUnread(t *testing.T) {
	t.Parallel()
	for name, exact := range map[string]bool{"Redis 7.0": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w trimmedUnread
			s := &simulated{first: 1, counted: -1, exact: exact}
			assert.Zero(t, s.countAgain(&w), "empty")
			s.add(100)
			s.trim(50)
			assert.Zero(t, s.countAgain(&w), "the group may be younger than what was trimmed")
			s.hand(50)
			assert.Zero(t, s.countAgain(&w))
			s.trim(0)
			assert.Zero(t, s.countAgain(&w), "all was read")
			s.add(30)
			s.hand(10)
			assert.Zero(t, s.countAgain(&w))
			s.trim(20)
			assert.Zero(t, s.countAgain(&w), "trimmed up to what was read")
			s.trim(15)
			assert.EqualValues(t, 5, s.countAgain(&w))
			assert.Zero(t, s.countAgain(&w), "counted already")
			s.add(10)
			s.trim(15)
			assert.EqualValues(t, 10, s.countAgain(&w))
			s.hand(1)
			assert.Zero(t, s.countAgain(&w))
			s.add(20)
			s.trim(4)
			assert.EqualValues(t, 30, s.countAgain(&w), "again, without having read all in between")
			s.hand(4)
			assert.Zero(t, s.countAgain(&w))
			s.add(3)
			s.trim(0)
			assert.EqualValues(t, 3, s.countAgain(&w), "nothing is left")
		})
	}
}
