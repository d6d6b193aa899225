package subscription

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// retryQueue takes the entries of the group's retry queue that are due. The reader's goroutine uses
// it; workers call arm.
type retryQueue struct {
	take    func(context.Context, stream.Limit) ([]stream.Entry, time.Duration, error)
	trouble outage.Outage

	mu  sync.Mutex
	due time.Time // when to take entries; zero: none is known to wait
}

func newRetryQueue(s *Subscription, m Membership) *retryQueue {
	return &retryQueue{take: m.Stream.TakeRetries, trouble: outage.Outage{What: "taking messages of the retry queue", Logger: s.Logger}}
}

// arm makes next take entries after the given time, or earlier.
func (q *retryQueue) arm(wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at := time.Now().Add(wait); q.due.IsZero() || at.Before(q.due) {
		q.due = at
	}
}

// untilDue is the time until next has something to do.
func (q *retryQueue) untilDue() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.due.IsZero() {
		return time.Hour
	}
	return time.Until(q.due)
}

// begin reports whether it is time to take entries.
func (q *retryQueue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.due.IsZero() || time.Until(q.due) > 0 {
		return false
	}
	q.due = time.Time{}
	return true
}

// next returns entries that are due. If the server refuses that, new entries are still read.
func (q *retryQueue) next(ctx context.Context, room room) ([]stream.Entry, error) {
	if !q.begin() {
		return nil, nil
	}
	entries, wait, err := q.take(ctx, room.limit())
	if _, refused := errors.AsType[redis.Error](err); refused {
		q.arm(q.trouble.Failed(err))
		return nil, nil
	}
	if err != nil {
		q.arm(0)
		return nil, err
	}
	q.trouble.Over()
	if wait >= 0 {
		q.arm(wait)
	}
	return entries, nil
}
