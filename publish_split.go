package redisstream

import (
	"fmt"
	"slices"
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
		part, failure := &parts[i+1], &failures[i+1]
		if !p.sendAhead(part) {
			others.Go(func() { *failure = p.publishPart(part) })
		}
	}
	failures[0] = p.publishPart(&parts[0])
	for i := range parts[1:] {
		if part := &parts[i+1]; part.isAhead {
			failures[i+1] = part.awaitAhead()
		}
	}
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
	if !c.isSpread(table) {
		c.lane = table.laneOf(int(c.partitions[0]))
		return nil
	}
	if c.order.table != table {
		c.order = orderByLane(table, c.partitions)
	}
	messages, requests := make([]*message.Message, len(c.messages)), make([]*stream.AddRequest, len(c.messages))
	for place, i := range c.order.messages {
		messages[place], requests[place] = c.messages[i], c.requests[i]
	}
	parts := make([]publication, 0, min(len(table.all), len(c.messages)))
	at := int32(0)
	for i, end := range c.order.ends {
		if at < end {
			parts = append(parts, publication{
				topic: c.topic, lane: table.all[i], watch: c.watch,
				messages: messages[at:end:end], requests: requests[at:end:end],
			})
			at = end
		}
	}
	return parts
}

// isSpread reports whether the call has messages for several lanes.
func (c *publication) isSpread(table *laneTable) bool {
	first := table.of[c.partitions[0]]
	return slices.ContainsFunc(c.partitions, func(partition int32) bool { return table.of[partition] != first })
}

// laneOrder has the messages of a call lane by lane, and those of each lane in their order.
type laneOrder struct {
	table    *laneTable
	messages []int32 // their indexes in the call
	ends     []int32 // of each lane in messages
}

func orderByLane(table *laneTable, partitions []int32) laneOrder {
	order := laneOrder{table, make([]int32, len(partitions)), make([]int32, len(table.all))}
	for _, partition := range partitions {
		order.ends[table.of[partition]]++
	}
	sum := int32(0)
	for i, size := range order.ends { // first where each lane begins
		order.ends[i] = sum
		sum += size
	}
	for i, partition := range partitions {
		end := &order.ends[table.of[partition]]
		order.messages[*end] = int32(i)
		*end++
	}
	return order
}

// arrange makes the requests of each lane neighbours in memory, so that its pipeline reads it in order.
// It uses the lanes that are known: split asks for those that are true.
func (c *publication) arrange() {
	table := c.partitioned.lanes.current()
	if table == nil || !c.isSpread(table) {
		return
	}
	c.order = orderByLane(table, c.partitions)
	memory := slices.Clone(c.requests)
	for place, i := range c.order.messages {
		c.requests[i] = memory[place]
	}
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
	}
	call.arrange()
	for i, partition := range call.partitions {
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
