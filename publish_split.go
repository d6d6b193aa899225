package redisstream

import (
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// publishToPartitions is publish for a topic with partitions. Its messages are marshaled.
func (p *Publisher) publishToPartitions(call *publication) *PublishError {
	if err := call.partitioned.agreeUntilDeadline(p, &call.watch); err != nil {
		return nothingSent(call.topic, call.messages, stream.Redact(err))
	}
	table := call.partitioned.lanesOf(p.config.Client)
	parts := call.split(table)
	if parts == nil {
		return p.publishPart(call)
	}
	failures := make([]*PublishError, len(parts))
	var others sync.WaitGroup
	for i := range parts[1:] {
		others.Go(func() { failures[i+1] = p.publishPart(&parts[i+1]) })
	}
	failures[0] = p.publishPart(&parts[0])
	others.Wait()
	return call.merge(parts, failures, table)
}

// publishPart publishes messages of one lane.
func (p *Publisher) publishPart(part *publication) *PublishError {
	failure, retryable := p.attempt(part)
	if retryable && part.watch.hasDeadline {
		failure = p.retryUntilDeadline(failure, part)
	}
	return failure
}

// split returns the parts of a call, one for each lane, which have its messages in their order. If
// there is one, it sets the lane of the call and returns nil.
func (c *publication) split(table *laneTable) []publication {
	first := table.of[c.partitions[0]]
	several := false
	for _, partition := range c.partitions {
		several = several || table.of[partition] != first
	}
	if !several {
		c.lane = table.all[first]
		return nil
	}
	places := make([]int32, len(table.all)) // how many messages each lane has; then where its next one goes
	for _, partition := range c.partitions {
		places[table.of[partition]]++
	}
	messages, requests := make([]*message.Message, len(c.messages)), make([]stream.AddRequest, len(c.messages))
	parts := make([]publication, 0, min(len(table.all), len(c.messages)))
	at := int32(0)
	for i, size := range places {
		places[i] = at
		if size > 0 {
			end := at + size
			parts = append(parts, publication{
				topic: c.topic, lane: table.all[i], watch: c.watch,
				messages: messages[at:end:end], requests: requests[at:end:end],
			})
			at = end
		}
	}
	for i, partition := range c.partitions {
		place := &places[table.of[partition]]
		messages[*place], requests[*place] = c.messages[i], c.requests[i]
		*place++
	}
	return parts
}

// merge returns the failure of a call that was split, with its messages in their order; nil: all are
// published.
func (c *publication) merge(parts []publication, failures []*PublishError, table *laneTable) *PublishError {
	byLane := make(map[*lane]*PublishError)
	for i, failure := range failures {
		if failure != nil {
			rest := *failure
			byLane[parts[i].lane] = &rest
		}
	}
	if len(byLane) == 0 {
		return nil
	}
	whole := &PublishError{Topic: c.topic}
	for i, msg := range c.messages {
		rest := byLane[table.laneOf(int(c.partitions[i]))]
		switch {
		case rest == nil:
			whole.Published = append(whole.Published, msg)
		case takeFirst(&rest.Published, msg):
			whole.Published = append(whole.Published, msg)
		case takeFirst(&rest.Failed, msg):
			whole.Failed = append(whole.Failed, msg)
		case takeFirst(&rest.Uncertain, msg):
			whole.Uncertain = append(whole.Uncertain, msg)
		}
		if whole.Err == nil && len(whole.Failed)+len(whole.Uncertain) > 0 {
			whole.Err = rest.Err
		}
	}
	return whole
}

// takeFirst removes the first message of a list, if it is msg, and reports whether it is.
func takeFirst(list *[]*message.Message, msg *message.Message) bool {
	if len(*list) == 0 || (*list)[0] != msg {
		return false
	}
	*list = (*list)[1:]
	return true
}

// route chooses the partition of each message, and sets its stream.
func (p *Publisher) route(call *publication) error {
	own := -1 // of the messages without a key
	for i, msg := range call.messages {
		key, err := p.partitionKey(call.topic, msg)
		if err != nil {
			return fmt.Errorf("message %d of %d, UUID %q: %w", i+1, len(call.messages), msg.UUID, err)
		}
		partition := own
		switch {
		case key != "":
			partition = PartitionOf(key, len(call.partitioned.streams))
		case own < 0:
			own = call.partitioned.leastLoaded()
			partition = own
		}
		call.partitions[i] = int32(partition)
		call.requests[i].Key = &call.partitioned.streams[partition]
	}
	return nil
}

// partitionKey returns the key that decides the partition of a message; empty: none does. Without one
// of its own a message that is published once goes by its deduplication key, so that its duplicates
// come to the same partition. A panic of the user's function is an error.
func (p *Publisher) partitionKey(topic string, msg *message.Message) (key string, err error) {
	if p.config.PartitionKey != nil {
		defer func() {
			if reason := recover(); reason != nil {
				err = panicked(reason)
				p.logger.Error("PartitionKey panicked: the message is not published", err, fieldsOfPanic(topic, msg))
			}
		}()
		key = p.config.PartitionKey(msg)
	}
	if key == "" && p.config.DeduplicationWindow > 0 {
		return p.deduplicationKey(topic, msg)
	}
	return key, nil
}
