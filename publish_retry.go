package redisstream

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
)

const (
	firstPublishPause   = 20 * time.Millisecond
	longestPublishPause = 500 * time.Millisecond
)

// retryUntilDeadline sends the messages that failed again, with growing pauses, until they are
// published, fail for a reason that is not retryable, a message's context ends or the Publisher is
// closed. They are the last messages of the call.
func (p *Publisher) retryUntilDeadline(failure *PublishError, call *publication) *PublishError {
	for attempt := 1; ; attempt++ {
		if ended := p.pause(attempt, &call.watch); ended != nil {
			failure.Err = endedWhileRetrying(ended, failure.Err)
			return failure
		}
		next, retryable := p.attempt(call.from(len(failure.Published)))
		if next == nil {
			return nil
		}
		if ended := call.watch.err(); ended != nil && errors.Is(next.Err, ended) {
			next.Err = endedWhileRetrying(ended, failure.Err)
		}
		next.Published = slices.Concat(failure.Published, next.Published)
		failure = next
		if !retryable {
			return failure
		}
	}
}

// pause waits before an attempt. It returns why the call must not wait: a message's context ended, or
// the Publisher is closed.
func (p *Publisher) pause(attempt int, watch *contextWatch) error {
	wait := backoff.Exponential(firstPublishPause, longestPublishPause, attempt)
	select {
	case <-time.After(backoff.Jitter(wait, 0.5)):
		return nil
	case <-watch.cancelled:
		return watch.err()
	case <-p.closing:
		return ErrPublisherClosed
	}
}

// endedWhileRetrying wraps both the reason why the wait ended and the refusal that the call waited
// out.
func endedWhileRetrying(end, refusal error) error {
	return fmt.Errorf("%w, while trying again after: %w", end, refusal)
}
