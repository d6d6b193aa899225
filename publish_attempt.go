package redisstream

import (
	"errors"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// errEarlierFailed is why the rest of a call was not sent.
var errEarlierFailed = stream.NotSent(errors.New("not sent, because earlier messages of the call failed"))

// publication is what one call of Publish has to publish.
type publication struct {
	topic    string
	messages []*message.Message
	requests []*stream.AddRequest // one for each message
	watch    contextWatch

	partitioned *partitionedTopic // nil: the topic is a stream
	partitions  []int32           // of the messages
	order       laneOrder         // the zero value: not known
	lane        *lane             // of all messages; nil: the topic is a stream
	isAhead     bool              // sendAhead sends all messages

	// memory for one message and one pipeline, which most calls have
	request   stream.AddRequest
	requested [1]*stream.AddRequest
	partition [1]int32
	part      publishCall
}

func newPublication(topic string, messages []*message.Message) *publication {
	c := &publication{topic: topic, messages: messages}
	if len(messages) == 1 {
		c.requested[0] = &c.request
		c.requests = c.requested[:]
		return c
	}
	memory := make([]stream.AddRequest, len(messages))
	c.requests = make([]*stream.AddRequest, len(messages))
	for i := range memory {
		c.requests[i] = &memory[i]
	}
	return c
}

// from returns the publication without its first n messages. None of the others was added.
func (c *publication) from(n int) *publication {
	for _, request := range c.requests[n:] {
		request.Reset()
	}
	return &publication{topic: c.topic, lane: c.lane, messages: c.messages[n:], requests: c.requests[n:], watch: c.watch}
}

// inPartitions makes the call one for a topic with partitions.
func (c *publication) inPartitions(topic *partitionedTopic) {
	c.partitioned = topic
	if c.partitions = c.partition[:]; len(c.messages) > 1 {
		c.partitions = make([]int32, len(c.messages))
	}
}

// queue returns the name of the queue that sends the call.
func (c *publication) queue() string {
	if c.lane != nil {
		return c.lane.name
	}
	return c.topic
}

// stream returns the stream of a message.
func (c *publication) stream(i int) string {
	if key := c.requests[i].Key; key != nil {
		return key.Name()
	}
	return c.topic
}

// newPart returns a part of the call.
func (c *publication) newPart(requests []*stream.AddRequest, bytes int) *publishCall {
	part := &c.part
	if part.requests != nil {
		part = new(publishCall)
	}
	part.ctx, part.cancelled, part.watch = c.messages[0].Context(), c.watch.cancelled, &c.watch
	part.requests, part.bytes, part.lane = requests, bytes, c.lane
	part.begin()
	return part
}

// attempt publishes the messages once. If it fails, it also reports whether the failure is
// retryable. It sends one pipeline after the other, so messages stay in order and none is added
// after one that failed.
func (p *Publisher) attempt(call *publication) (failure *PublishError, retryable bool) {
	sent := 0
	for sent < len(call.requests) {
		n, bytes := firstPart(call.requests[sent:])
		if sent == 0 && p.config.MaxAge > 0 && !p.queues.adder.KnowsAge(call.queue()) {
			n, bytes = 1, size(call.requests[0]) // its ID has the server's time
		}
		pipeline := call.requests[sent : sent+n]
		if err := p.send(call, pipeline, bytes); err != nil {
			return call.outcome(sent, err)
		}
		sent += n
		if anyFailed(pipeline) {
			return call.outcome(sent, errEarlierFailed)
		}
	}
	return nil, false
}

// commandBytes is about the size of an XADD without its fields. It stands for what the command
// costs the server, too.
const commandBytes = 64

// size returns about how many bytes the request takes on the wire.
func size(request *stream.AddRequest) int {
	bytes, _ := request.Fields.Sizes()
	return commandBytes + bytes
}

// firstPart returns how many of the requests go in the next pipeline, and their bytes.
func firstPart(requests []*stream.AddRequest) (n, bytes int) {
	for i, request := range requests {
		next := size(request)
		if i > 0 && (next >= largeMessage || bytes+next > maxPipelineBytes) {
			return i, bytes
		}
		bytes += next
		if next >= largeMessage {
			return 1, bytes
		}
	}
	return len(requests), bytes
}

// send sends a part of a call in one pipeline and waits for its result, which is in the requests.
// If it returns an error, the part was not sent.
func (p *Publisher) send(call *publication, requests []*stream.AddRequest, bytes int) error {
	if err := call.watch.err(); err != nil {
		return err
	}
	part := call.newPart(requests, bytes)
	queue, admission := p.queues.enter(call.queue(), call.topic, part)
	if err := queue.await(part, admission, &call.watch); err != nil {
		part.leaveLane()
		return err
	}
	queue.start(part)
	if part.cancelled == nil {
		part.ended.Wait()
		return nil
	}
	select {
	case <-part.done:
		return nil
	case <-part.cancelled:
	}
	if queue.withdraw(part) {
		part.leaveLane()
		return call.watch.err()
	}
	<-part.done // it is on the wire: the reply or the client's time-out follows
	return nil
}

// sendAhead begins to send a publication, so that the caller can send another one meanwhile, and reports
// whether it did. It does not if the publication takes several pipelines, has to wait for its admission,
// or can be cancelled or sent again. awaitAhead waits for the result.
func (p *Publisher) sendAhead(call *publication) bool {
	n, bytes := firstPart(call.requests)
	if n < len(call.requests) || call.watch.cancelled != nil || p.config.MaxAge > 0 {
		return false
	}
	part := call.newPart(call.requests, bytes)
	if !part.large() {
		if queue := p.queues.tryEnter(call.queue(), call.topic, part); queue != nil {
			queue.Add(part)
			call.isAhead = true
			return true
		}
	}
	part.leaveLane()
	return false
}

func (c *publication) awaitAhead() *PublishError {
	c.part.ended.Wait()
	if !anyFailed(c.requests) {
		return nil
	}
	failure, _ := c.outcome(len(c.requests), errEarlierFailed)
	return failure
}

func anyFailed(requests []*stream.AddRequest) bool {
	return slices.ContainsFunc(requests, func(r *stream.AddRequest) bool { return r.Err != nil })
}

// outcome sorts the messages of a call by their result. The first were sent; the others were not,
// because of the given error. It also reports whether all that are not published can be sent again
// and keep their order.
func (c *publication) outcome(sent int, unsent error) (failure *PublishError, retryable bool) {
	failure, retryable = &PublishError{Topic: c.topic}, true
	for i, request := range c.requests[:sent] {
		if request.Err == nil {
			failure.Published = append(failure.Published, c.messages[i])
			retryable = retryable && failure.Err == nil
			continue
		}
		if failure.Err == nil {
			failure.Err = stream.Redact(request.Err)
		}
		retryable = retryable && stream.IsRetryable(request.Err)
		if stream.IsNotApplied(request.Err) {
			failure.Failed = append(failure.Failed, c.messages[i])
		} else {
			failure.Uncertain = append(failure.Uncertain, c.messages[i])
		}
	}
	if sent < len(c.messages) {
		failure.Failed = append(failure.Failed, c.messages[sent:]...)
		retryable = retryable && stream.IsRetryable(unsent)
	}
	if failure.Err == nil {
		failure.Err = stream.Redact(unsent)
	}
	return failure, retryable
}
