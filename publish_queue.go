package redisstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/awake"
	"github.com/millrace/redisstream/internal/batch"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// maxPipelineCalls bounds how many calls share a pipeline.
	maxPipelineCalls = 256
	// Another pipeline may be under way for each pipelineSpacing of a round trip: over a slow link hardly any call
	// waits for another's. Next to the server two keep both sides busy; more would be small ones, and cost both. There is one
	// while its reader stays awake: the others' would sleep.
	pipelineSpacing = 100 * time.Microsecond
	minPipelines    = 2
	maxPipelines    = 16
)

// publishCall is one call of Publish on its way. The queue owns additions until done is closed.
type publishCall struct {
	ctx       context.Context //nolint:containedctx // for the hooks of the client
	additions []stream.Addition
	done      chan struct{}
}

// publishQueues has a queue for each topic with calls under way, so that a slow topic or shard
// holds up no other.
type publishQueues struct {
	adder *stream.Adder

	mu     sync.Mutex
	queues map[string]*publishQueue
}

// publishQueue is the group commit of one topic.
type publishQueue struct {
	batch.Committer[*publishCall]
	owner *publishQueues
	topic string
	calls int          // under way; guarded by owner.mu
	rtt   atomic.Int64 // shortest round trip of late, in ns
}

// enter returns the topic's queue for one call, which leaves it when it is committed or withdrawn.
func (q *publishQueues) enter(topic string) *publishQueue {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.queues[topic]
	if queue == nil {
		queue = &publishQueue{owner: q, topic: topic}
		queue.Commit, queue.Parallel, queue.MaxItems = queue.commit, queue.parallel, maxPipelineCalls
		if q.queues == nil {
			q.queues = make(map[string]*publishQueue)
		}
		q.queues[topic] = queue
	}
	queue.calls++
	return queue
}

func (q *publishQueue) leave(calls int) {
	q.owner.mu.Lock()
	defer q.owner.mu.Unlock()
	q.calls -= calls
	if q.calls == 0 && len(q.owner.queues) > maxIdleQueues {
		delete(q.owner.queues, q.topic)
	}
}

// maxIdleQueues is how many topics keep what was learned of their round trips.
const maxIdleQueues = 128

// wait returns when no pipeline is under way.
func (q *publishQueues) wait() {
	q.mu.Lock()
	queues := make([]*publishQueue, 0, len(q.queues))
	for _, queue := range q.queues {
		queues = append(queues, queue)
	}
	q.mu.Unlock()
	for _, queue := range queues {
		queue.Wait()
	}
}

// withdraw takes back a call that is in no pipeline yet, and reports whether it did.
func (q *publishQueue) withdraw(call *publishCall) bool {
	if !q.Remove(func(other *publishCall) bool { return other == call }) {
		return false
	}
	q.leave(1)
	return true
}

func (q *publishQueue) commit(calls []*publishCall) {
	additions := make([]*stream.Addition, 0, len(calls))
	for _, call := range calls {
		for i := range call.additions {
			additions = append(additions, &call.additions[i])
		}
	}
	began := time.Now()
	q.owner.adder.Add(context.WithoutCancel(calls[0].ctx), q.topic, additions)
	q.measured(time.Since(began))
	for _, call := range calls {
		close(call.done)
	}
	q.leave(len(calls))
}

// measured follows the shortest round trip: down at once, up slowly.
func (q *publishQueue) measured(rtt time.Duration) {
	old := q.rtt.Load()
	if old == 0 || int64(rtt) < old {
		q.rtt.Store(int64(rtt))
		return
	}
	q.rtt.Store(old + (int64(rtt)-old)/1024)
}

func (q *publishQueue) parallel() int {
	rtt := time.Duration(q.rtt.Load())
	if 0 < rtt && rtt < pipelineSpacing && awake.Pays() {
		return 1
	}
	return int(min(max(rtt/pipelineSpacing, minPipelines), maxPipelines))
}
