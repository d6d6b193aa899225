package redisstream

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// resendWithin is how long after its first attempt an Idempotent pipeline may be written again.
	// The server forgets it after 100 s.
	resendWithin = 60 * time.Second
	// unwrittenTries is how often an Idempotent pipeline is tried again of which nothing was ever
	// written, as go-redis does with other commands.
	unwrittenTries = 3
)

// commitIdempotent sends calls in one pipeline, and sends again what got no answer, until each call
// has its result. A call ends as soon as it has it.
func (q *publishQueue) commitIdempotent(calls []*publishCall) {
	producer := q.takeProducer()
	defer q.putProducer(producer)
	p := &calls[0].own
	p.Producer = producer
	notAfter := time.Now().Add(q.owner.resendWithin)
	for attempt := 1; ; attempt++ {
		began := time.Now()
		sent := q.send(calls, p)
		calls = q.endSettled(calls, sent, time.Since(began))
		if attempt > unwrittenTries && !anyWritten(calls) {
			q.giveUp(calls, nil)
			return
		}
		if calls = q.pause(calls, p, attempt, notAfter); len(calls) == 0 {
			return
		}
		p = p.next()
		p.NotAfter = notAfter
	}
}

// pause waits before an attempt, and returns the calls that still wait for it.
func (q *publishQueue) pause(calls []*publishCall, p *pipeline, attempt int, notAfter time.Time) []*publishCall {
	if len(calls) == 0 {
		return nil
	}
	wait := backoff.Jitter(backoff.Exponential(firstPublishPause, longestPublishPause, attempt), 0.5)
	if time.Now().Add(wait).After(notAfter) {
		return q.giveUp(calls, fmt.Errorf("%w within %s", errNoAnswer, q.owner.resendWithin))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for len(calls) > 0 {
		select {
		case <-timer.C:
			return calls
		case <-q.owner.closing:
			return q.giveUp(calls, ErrPublisherClosed)
		case <-p.woken:
			calls = q.endSettled(calls, nil, 0)
		}
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

// endSettled ends the calls that have their result or are withdrawn, and returns the others. sent
// are those of the last attempt, which took that long; nil: there was none since.
func (q *publishQueue) endSettled(calls, sent []*publishCall, took time.Duration) (open []*publishCall) {
	var answered []*publishCall
	ended := make([]*publishCall, 0, len(calls))
	pausing := sent == nil
	for _, call := range calls {
		inAttempt := len(sent) > 0 && sent[0] == call
		if inAttempt {
			sent = sent[1:]
		}
		switch {
		case call.withdrawn.Load():
			call.giveUp(call.watch.err())
		case (inAttempt || pausing) && call.open():
			open = append(open, call)
			continue
		}
		ended = append(ended, call)
		if inAttempt {
			answered = append(answered, call)
		}
	}
	q.end(ended, answered, took)
	return open
}

// giveUp ends calls without an answer, and returns nil.
func (q *publishQueue) giveUp(calls []*publishCall, cause error) []*publishCall {
	var sent []*publishCall
	for _, call := range calls {
		if stream.IsUnanswered(call.requests[len(call.requests)-1].Err) {
			sent = calls
		}
		call.giveUp(cause)
	}
	q.end(calls, sent, 0)
	return nil
}

// end ends calls; some of them were sent in an attempt that took that long.
func (q *publishQueue) end(calls, sent []*publishCall, took time.Duration) {
	if len(calls) == 0 {
		return
	}
	for _, call := range calls {
		for _, request := range call.requests {
			if request.Duplicate() {
				q.owner.duplicates.Add(1)
			}
		}
	}
	q.settle(calls, sent, took)
	for _, call := range calls {
		call.end()
	}
}

// open reports whether requests of the call have to be sent again. One in front of a request that
// went in is given up: to send it again would change the order.
func (c *publishCall) open() bool {
	open, behind := false, false
	for _, request := range slices.Backward(c.requests) {
		switch {
		case request.Err == nil:
			behind = true
		case request.Open() && behind:
			request.GiveUp(nil)
		case request.Open():
			open = true
		}
	}
	return open
}

// giveUp makes the requests without an answer fail. A nil cause leaves them the error that they have.
func (c *publishCall) giveUp(cause error) {
	for _, request := range c.requests {
		if request.Open() {
			request.GiveUp(cause)
		}
	}
}

// anyWritten reports whether a server may have seen something of the calls.
func anyWritten(calls []*publishCall) bool {
	for _, call := range calls {
		for _, request := range call.requests {
			if request.Written() {
				return true
			}
		}
	}
	return false
}

// takeProducer returns a producer that has no pipeline under way.
func (q *publishQueue) takeProducer() *stream.Producer {
	q.producersMu.Lock()
	defer q.producersMu.Unlock()
	if n := len(q.producers); n > 0 {
		producer := q.producers[n-1]
		q.producers = q.producers[:n-1]
		return producer
	}
	return stream.NewProducer(inSlotOf(q.name, producerInfix), q.owner.window)
}

// putProducer gives a producer back whose requests are settled.
func (q *publishQueue) putProducer(producer *stream.Producer) {
	if producer.Spent() {
		return
	}
	q.producersMu.Lock()
	defer q.producersMu.Unlock()
	q.producers = append(q.producers, producer)
}
