package redisstream

import (
	"errors"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// errBehind is why the rest of a call was not sent.
var errBehind = stream.NotSent(errors.New("not sent, because messages in front of it failed"))

// publication is what a call of Publish has to publish.
type publication struct {
	topic     string
	messages  []*message.Message
	additions []stream.AddRequest // of the messages
	watch     *contextWatch
}

// from is the publication without its first messages.
func (c publication) from(n int) publication {
	c.messages, c.additions = c.messages[n:], c.additions[n:]
	return c
}

// attempt publishes the messages once. If it fails, it also reports whether trying again may help. Its pipelines go one after
// the other: messages stay in order, and none goes in behind one that failed.
func (p *Publisher) attempt(call publication) (failure *PublishError, passes bool) {
	sent := 0
	for sent < len(call.additions) {
		n, bytes := part(call.additions[sent:])
		if sent == 0 && p.config.MaxAge > 0 && !p.queues.adder.KnowsAge(call.topic) {
			n, bytes = 1, size(&call.additions[0]) // the ID of the first tells the server's time
		}
		sending := call.additions[sent : sent+n]
		if err := p.send(call, sending, bytes); err != nil {
			return call.outcome(sent, err)
		}
		sent += n
		if slices.ContainsFunc(sending, func(a stream.AddRequest) bool { return a.Err != nil }) {
			return call.outcome(sent, errBehind)
		}
	}
	return nil, false
}

// commandBytes is about what an XADD takes beside its fields, and about what it costs the server.
const commandBytes = 64

func size(addition *stream.AddRequest) int {
	bytes := commandBytes
	for _, field := range addition.Fields {
		switch field := field.(type) {
		case string:
			bytes += len(field)
		case []byte:
			bytes += len(field)
		}
	}
	return bytes
}

// part returns how many of the additions go in one pipeline, and their bytes.
func part(additions []stream.AddRequest) (n, bytes int) {
	for i := range additions {
		next := size(&additions[i])
		if i > 0 && (next >= largeMessage || bytes+next > maxPipelineBytes) {
			return i, bytes
		}
		bytes += next
		if next >= largeMessage {
			return 1, bytes
		}
	}
	return len(additions), bytes
}

// send sends a part of a call in one pipeline and waits until it is settled. After an error it was not sent.
func (p *Publisher) send(call publication, additions []stream.AddRequest, bytes int) error {
	if err := call.watch.err(); err != nil {
		return err
	}
	part := &publishCall{
		ctx: call.messages[0].Context(), cancelled: call.watch.cancelled,
		additions: additions, bytes: bytes, done: make(chan struct{}),
	}
	queue, turn := p.queues.enter(call.topic, part)
	if err := queue.await(part, turn, call.watch); err != nil {
		return err
	}
	queue.begin(part)
	select {
	case <-part.done:
		return nil
	case <-part.cancelled:
	}
	if queue.withdraw(part) {
		return call.watch.err()
	}
	<-part.done // it is on the wire: its reply comes, or the client's time-out
	return nil
}

// outcome sorts the messages of a call by what became of them, of which the first were sent, and the others were not because of
// an error. It also reports whether trying again may help all that are not published, and keeps the order.
func (c publication) outcome(sent int, unsent error) (failure *PublishError, passes bool) {
	failure, passes = &PublishError{Topic: c.topic}, true
	for i, addition := range c.additions[:sent] {
		if addition.Err == nil {
			failure.Published = append(failure.Published, c.messages[i])
			passes = passes && failure.Err == nil
			continue
		}
		if failure.Err == nil {
			failure.Err = stream.Redact(addition.Err)
		}
		passes = passes && stream.IsRetryable(addition.Err)
		if stream.IsNotApplied(addition.Err) {
			failure.Failed = append(failure.Failed, c.messages[i])
		} else {
			failure.Uncertain = append(failure.Uncertain, c.messages[i])
		}
	}
	if sent < len(c.messages) {
		failure.Failed = append(failure.Failed, c.messages[sent:]...)
		passes = passes && stream.IsRetryable(unsent)
	}
	if failure.Err == nil {
		failure.Err = stream.Redact(unsent)
	}
	return failure, passes
}
