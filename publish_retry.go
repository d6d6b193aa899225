package redisstream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

const (
	firstPublishPause   = 20 * time.Millisecond
	longestPublishPause = 500 * time.Millisecond
)

// persist sends what failed again, with growing pauses, until it is published, fails for another reason, a
// message's context ends or the Publisher is closed.
func (p *Publisher) persist(failure *PublishError, call []*message.Message, watch *contextWatch) *PublishError {
	for pause := firstPublishPause; ; pause = min(2*pause, longestPublishPause) {
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-watch.cancelled:
			failure.Err = gaveUp(watch.err(), failure.Err)
			return failure
		case <-p.closing:
			failure.Err = gaveUp(ErrPublisherClosed, failure.Err)
			return failure
		}
		next, passes := p.attempt(failure.Topic, failure.Failed, watch)
		if next == nil {
			return nil
		}
		if ended := watch.err(); ended != nil && errors.Is(next.Err, ended) {
			next.Err = gaveUp(ended, failure.Err)
		}
		next.Published = inOrderOf(call, slices.Concat(failure.Published, next.Published))
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

func inOrderOf(call, some []*message.Message) []*message.Message {
	position := make(map[*message.Message]int, len(call))
	for i, msg := range call {
		position[msg] = i
	}
	slices.SortStableFunc(some, func(a, b *message.Message) int { return position[a] - position[b] })
	return some
}
