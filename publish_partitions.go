package redisstream

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/millrace/redisstream/internal/stream"
)

// maxKnownPartitions bounds of how many streams a Publisher keeps the names and the idle queues.
const maxKnownPartitions = 1 << 16

// partitionedTopics are the topics with partitions to which a Publisher has published.
type partitionedTopics struct {
	partitions int
	plan       lanePlan
	ctx        context.Context //nolint:containedctx // of the questions; Close ends it
	cancel     context.CancelFunc
	asking     sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*partitionedTopic
}

func newPartitionedTopics(config PublisherConfig) partitionedTopics {
	ctx, cancel := context.WithCancel(context.Background())
	return partitionedTopics{partitions: config.Partitions, plan: config.plan(), ctx: ctx, cancel: cancel}
}

// close ends the questions that are under way. The client notices it between two commands, or when it
// dials.
func (p *partitionedTopics) close() {
	p.cancel()
	p.asking.Wait()
}

// of returns a topic. The name must be one that can have partitions.
func (p *partitionedTopics) of(name string) *partitionedTopic {
	p.mu.Lock()
	defer p.mu.Unlock()
	if topic := p.topics[name]; topic != nil {
		return topic
	}
	if p.topics == nil {
		p.topics = make(map[string]*partitionedTopic)
	}
	if len(p.topics) >= max(maxKnownPartitions/p.partitions, 1) {
		for other := range p.topics { // the order is random
			delete(p.topics, other)
			break
		}
	}
	topic := &partitionedTopic{name: name, owner: p, streams: make([]stream.Key, p.partitions)}
	for i := range topic.streams {
		topic.streams[i] = stream.NewKey(stream.PartitionName(name, i, p.partitions))
	}
	p.topics[name] = topic
	return topic
}

// partitionedTopic is a topic with partitions.
type partitionedTopic struct {
	name    string
	owner   *partitionedTopics
	streams []stream.Key  // by partition
	turn    atomic.Uint32 // counts calls that chose the partition themselves

	agreed atomic.Bool // the server has our number of partitions
	mu     sync.Mutex
	asked  *question // nil: none is under way
	lanes  lanes
}

// question is a call of agreeOnPartitions, for all that wait for it.
type question struct {
	done chan struct{}
	err  error
}

// agree asks the server for the number of partitions, once. While a call of Publish waits, others share
// its question.
func (t *partitionedTopic) agree(p *Publisher, watch *contextWatch) error {
	if t.agreed.Load() {
		return nil
	}
	t.mu.Lock()
	q := t.asked
	if t.agreed.Load() { // meanwhile
		t.mu.Unlock()
		return nil
	}
	if q == nil {
		q = &question{done: make(chan struct{})}
		t.asked = q
		t.owner.asking.Go(func() { t.ask(p, q) })
	}
	t.mu.Unlock()
	select {
	case <-q.done:
		return q.err
	case <-watch.cancelled:
		return watch.err()
	case <-p.closing:
		return ErrPublisherClosed
	}
}

func (t *partitionedTopic) ask(p *Publisher, q *question) {
	q.err = agreeOnPartitions(t.owner.ctx, p.config.Client, t.name, t.owner.partitions, false)
	if t.owner.ctx.Err() != nil {
		q.err = ErrPublisherClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = nil
	t.agreed.Store(q.err == nil)
	close(q.done)
}

// agreeUntilDeadline is agree. If a message's context has a deadline, it asks again until then.
func (t *partitionedTopic) agreeUntilDeadline(p *Publisher, watch *contextWatch) error {
	for attempt := 1; ; attempt++ {
		err := t.agree(p, watch)
		if err == nil || !watch.hasDeadline || !stream.IsRetryable(err) {
			return err
		}
		if ended := p.pause(attempt, watch); ended != nil {
			return endedWhileRetrying(ended, err)
		}
	}
}

// maxLooks bounds of how many partitions leastLoaded compares the lanes.
const maxLooks = 16

// leastLoaded returns a partition for messages without a key. Partitions have their turns. One whose
// lane has much more to do than others is passed over for the one with the least.
func (t *partitionedTopic) leastLoaded() int {
	n := len(t.streams)
	turn := int((t.turn.Add(1) - 1) % uint32(n)) //nolint:gosec // at most MaxPartitions
	table := t.lanes.current()
	if table == nil || len(table.all) == 1 {
		return turn
	}
	load := table.laneOf(turn).load.Load()
	best, least := turn, load
	looks := min(n, maxLooks)
	for i := 1; i < looks && least > 0 && load > loadSlack; i++ {
		partition := (turn + i*n/looks) % n // at distances, because neighbours are mostly on one master
		if other := table.laneOf(partition).load.Load(); other < least {
			best, least = partition, other
		}
	}
	if load > 2*least+loadSlack {
		return best
	}
	return turn
}
