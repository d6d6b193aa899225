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

// persist sends what failed again, with growing pauses, until it is published, fails for another reason, a
// message's context ends or the Publisher is closed. What failed is the end of the call.
func (p *Publisher) persist(failure *PublishError, call publication) *PublishError {
	for attempt := 1; ; attempt++ {
		pause := backoff.Exponential(firstPublishPause, longestPublishPause, attempt)
		select {
		case <-time.After(backoff.Jitter(pause, 0.5)):
		case <-call.watch.cancelled:
			failure.Err = gaveUp(call.watch.err(), failure.Err)
			return failure
		case <-p.closing:
			failure.Err = gaveUp(ErrPublisherClosed, failure.Err)
			return failure
		}
		next, passes := p.attempt(call.from(len(failure.Published)))
		if next == nil {
			return nil
		}
		if ended := call.watch.err(); ended != nil && errors.Is(next.Err, ended) {
			next.Err = gaveUp(ended, failure.Err)
		}
		next.Published = slices.Concat(failure.Published, next.Published)
		failure = next
		if !passes {
			return failure
		}
	}
}

// gaveUp says what kept the call waiting until its end.
func gaveUp(end, refusal error) error {
	return fmt.Errorf("%w, while trying again after: %w", end, refusal)
}
