package redisstream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/batch"
	"github.com/millrace/redisstream/internal/busypoll"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

const (
	// maxPipelineCalls bounds how many calls share a pipeline.
	maxPipelineCalls = 256
	// maxPipelineBytes bounds a pipeline, so that it passes within the client's time-outs over a slow link, too.
	maxPipelineBytes = 256 << 10
	// A message of largeMessage has a pipeline of its own: what becomes of it touches no other.
	largeMessage = 64 << 10
	// maxLargeMessages bounds how many of those are under way at the same time: each has a connection of the client's pool.
	maxLargeMessages = 8
	// Another pipeline may be under way for each pipelineSpacing of a round trip: over a slow link hardly any call
	// waits for another's. Next to the server two keep both sides busy; more would be small ones, and cost both. There is one
	// while its reader busy-polls: the others' would park.
	pipelineSpacing = 100 * time.Microsecond
	minPipelines    = 2
	maxPipelines    = 16
)

// publishCall is one call of Publish, or a part of one, on its way. The queue owns additions until done is closed.
type publishCall struct {
	ctx       context.Context //nolint:containedctx // for the hooks of the client
	cancelled <-chan struct{} // nil: never
	additions []stream.AddRequest
	bytes     int // about what additions take on the wire
	done      chan struct{}

	left     atomic.Bool              // the caller is gone, if no pipeline with the call is on the wire
	pipeline atomic.Pointer[pipeline] // the last with the call
}

// pipeline is one attempt to send some calls together.
type pipeline struct {
	stream.Pipeline
	cancel context.CancelFunc // nil: none of the calls can be withdrawn
}

// large reports whether the call is one message that goes alone.
func (c *publishCall) large() bool { return c.bytes >= largeMessage && len(c.additions) == 1 }

// publishQueues has a queue for each topic with calls under way, so that a slow topic or shard
// holds up no other.
type publishQueues struct {
	adder    *stream.Adder
	patience time.Duration // the client's
	spread   bool          // topics are on different servers: each has flows of its own
	poller   *busypoll.Poller

	mu     sync.Mutex
	queues map[string]*publishQueue
	flows  flows
	alone  sync.WaitGroup // large messages under way
}

// flows are those of small calls and of large messages: a small call never waits for a large message.
type flows struct{ small, large flow }

func (f *flows) of(call *publishCall) *flow {
	if call.large() {
		f.large.most = maxLargeMessages
		return &f.large
	}
	return &f.small
}

// publishQueue is the group commit of one topic.
type publishQueue struct {
	batch.Committer[*publishCall]
	owner *publishQueues
	topic string
	calls int          // under way; guarded by owner.mu
	flows flows        // guarded by owner.mu; used if topics are spread
	rtt   atomic.Int64 // shortest round trip of late, in ns
}

// enter returns the topic's queue for one call, which leaves it when it is committed or withdrawn. The call may have
// to wait for its turn.
func (q *publishQueues) enter(topic string, call *publishCall) (*publishQueue, *admission) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.queues[topic]
	if queue == nil {
		queue = &publishQueue{owner: q, topic: topic}
		queue.Commit, queue.Parallel, queue.MaxItems = queue.commit, queue.parallel, maxPipelineCalls
		queue.Size, queue.MaxSize = func(call *publishCall) int { return call.bytes }, maxPipelineBytes
		if q.queues == nil {
			q.queues = make(map[string]*publishQueue)
		}
		q.queues[topic] = queue
	}
	queue.calls++
	return queue, queue.flow(call).enter(call.bytes)
}

// flow returns what bounds the call.
func (q *publishQueue) flow(call *publishCall) *flow {
	flows := &q.owner.flows
	if q.owner.spread {
		flows = &q.flows
	}
	flow := flows.of(call)
	flow.patience = q.owner.patience
	return flow
}

// await waits for the call's turn. If the error is not nil, the call has left the queue.
func (q *publishQueue) await(call *publishCall, turn *admission, watch *contextWatch) error {
	if turn == nil {
		return nil
	}
	var err error
	select {
	case err = <-turn.turn:
		if err == nil {
			return nil
		}
	case <-call.cancelled:
		err = watch.err()
	}
	q.owner.mu.Lock()
	defer q.owner.mu.Unlock()
	flow := q.flow(call)
	select {
	case refused := <-turn.turn: // meanwhile
		if refused == nil {
			flow.leave(1, call.bytes)
		}
	default:
		flow.forget(turn) // nothing, if it was refused
	}
	q.leave(1)
	return err
}

// leave is called with owner.mu held.
func (q *publishQueue) leave(calls int) {
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
	q.alone.Wait()
}

// begin has a call sent that had its turn; done is closed when it is settled.
func (q *publishQueue) begin(call *publishCall) {
	switch {
	case call.large() && call.cancelled == nil:
		q.commit([]*publishCall{call})
	case call.large():
		q.owner.alone.Go(func() { q.commit([]*publishCall{call}) })
	case call.cancelled == nil:
		q.Do(call)
	default:
		q.Add(call)
	}
}

// withdraw takes back a call of which nothing was written yet, and reports whether it did.
func (q *publishQueue) withdraw(call *publishCall) bool {
	if !call.large() && q.Remove(func(other *publishCall) bool { return other == call }) {
		q.owner.mu.Lock()
		defer q.owner.mu.Unlock()
		q.flow(call).leave(1, call.bytes)
		q.leave(1)
		return true
	}
	call.left.Store(true)
	pipeline := call.pipeline.Load()
	if pipeline == nil { // send sees that it left
		return true
	}
	if !pipeline.Withdraw() {
		return false
	}
	pipeline.cancel()
	return true
}

func (q *publishQueue) commit(calls []*publishCall) {
	began := time.Now()
	sent := q.send(calls)
	q.settle(calls, sent, time.Since(began))
	for _, call := range sent {
		close(call.done)
	}
}

// send sends the calls and returns those that were not withdrawn. When one is withdrawn while there is no
// connection yet, the others go in another pipeline.
func (q *publishQueue) send(calls []*publishCall) []*publishCall {
	for {
		pipeline := new(pipeline)
		ctx := context.WithoutCancel(calls[0].ctx)
		calls, ctx = pipeline.take(ctx, calls)
		if len(calls) == 0 {
			pipeline.cancel()
			return nil
		}
		additions := make([]*stream.AddRequest, 0, len(calls))
		for _, call := range calls {
			for i := range call.additions {
				additions = append(additions, &call.additions[i])
			}
		}
		q.owner.adder.Add(ctx, q.topic, additions, &pipeline.Pipeline)
		if pipeline.cancel != nil {
			pipeline.cancel()
		}
		if !pipeline.Withdrawn() {
			return calls
		}
	}
}

// take returns the calls that go in the pipeline, because their callers are there.
func (p *pipeline) take(ctx context.Context, calls []*publishCall) ([]*publishCall, context.Context) {
	if !slices.ContainsFunc(calls, func(call *publishCall) bool { return call.cancelled != nil }) {
		return calls, ctx
	}
	ctx, p.cancel = context.WithCancel(ctx)
	staying := make([]*publishCall, 0, len(calls))
	for _, call := range calls {
		call.pipeline.Store(p)
		if !call.left.Load() {
			staying = append(staying, call)
		}
	}
	return staying, ctx
}

// settle ends the calls of a pipeline, and learns from what was sent of them.
func (q *publishQueue) settle(calls, sent []*publishCall, took time.Duration) {
	var err error // of the last reply
	if len(sent) > 0 {
		additions := sent[len(sent)-1].additions
		err = additions[len(additions)-1].Err
	}
	unanswered := stream.IsUnanswered(err)
	if len(sent) > 0 && !unanswered && !calls[0].large() {
		q.measured(took)
	}
	bytes := 0
	for _, call := range calls {
		bytes += call.bytes
	}
	q.owner.mu.Lock()
	defer q.owner.mu.Unlock()
	flow := q.flow(calls[0])
	switch {
	case len(sent) == 0:
	case unanswered:
		flow.failed(stream.NotSent(fmt.Errorf("not sent, because the server does not answer: %w", err)))
	default:
		flow.passed(bytes, took-time.Duration(q.rtt.Load()))
	}
	flow.leave(len(calls), bytes)
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
	if 0 < rtt && rtt < pipelineSpacing && q.owner.poller.Pays() {
		return 1
	}
	return int(min(max(rtt/pipelineSpacing, minPipelines), maxPipelines))
}

// spreads reports whether the client has several servers.
func spreads(client redis.UniversalClient) bool {
	switch client.(type) {
	case interface{ Options() *redis.Options }:
		return false
	default:
		return true
	}
}
