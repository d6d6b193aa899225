package redisstream

import (
	"context"
	"fmt"
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
	// maxPipelineBytes bounds a pipeline, so that a slow link carries it within the client's
	// time-outs, too.
	maxPipelineBytes = 256 << 10
	// maxLargeMessages bounds how many of them are under way at the same time: each holds a
	// connection of the client's pool.
	maxLargeMessages = 8
	// One pipeline may be under way for each pipelineSpacing of a round trip, so that over a slow
	// link hardly any call waits for another's. Close to the server two keep both sides busy; more
	// would be smaller and cost more. There is one while its reader busy-polls: the readers of
	// others would park.
	pipelineSpacing = 100 * time.Microsecond
	minPipelines    = 2
	maxPipelines    = 16
)

// publishQueues has a queue for each topic with calls under way, so that a slow topic or shard
// delays no other.
type publishQueues struct {
	adder   *stream.Adder
	timeout time.Duration // the client's, for a reply
	spread  bool          // topics are on different servers: each has flows of its own
	poller  *busypoll.Poller

	observer *publisherObserver // nil: none

	idempotent   bool          // what got no answer is sent again, and added once
	resendWithin time.Duration // of the first attempt
	window       time.Duration // of deduplication keys
	closing      <-chan struct{}
	duplicates   atomic.Int64

	mu     sync.Mutex
	queues map[string]*publishQueue
	idle   int // how many are kept while no call is under way; at least maxIdleQueues
	flows  flows
	alone  sync.WaitGroup // large messages under way
}

// flows are separate for small calls and large messages: a small call never waits for a large
// message.
type flows struct{ small, large flow }

func (f *flows) of(call *publishCall) *flow {
	if call.large() {
		f.large.most = maxLargeMessages
		return &f.large
	}
	return &f.small
}

// publishQueue is the group commit of one topic, or of one of its lanes: calls that come during a round
// trip share the next one.
type publishQueue struct {
	batch.Committer[*publishCall]
	owner *publishQueues
	topic string
	name  string       // of the topic, or of the lane
	key   stream.Key   // of requests that have none
	calls int          // under way; guarded by owner.mu
	flows flows        // guarded by owner.mu; used if topics are spread
	rtt   atomic.Int64 // shortest recent round trip, in ns

	producersMu sync.Mutex
	producers   []*stream.Producer // without a pipeline under way
}

// enter returns the queue of that name, of the topic, for one call, which leaves it when it is committed
// or withdrawn. If the admission is not nil, the call has to wait for it.
func (q *publishQueues) enter(name, topic string, call *publishCall) (*publishQueue, *admission) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.queue(name, topic)
	queue.calls++
	return queue, queue.flow(call).enter(call.bytes)
}

// tryEnter is enter for a call that is admitted at once; nil: it would have to wait.
func (q *publishQueues) tryEnter(name, topic string, call *publishCall) *publishQueue {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.queue(name, topic)
	if !queue.flow(call).admit(call.bytes) {
		return nil
	}
	queue.calls++
	return queue
}

func (q *publishQueues) queue(name, topic string) *publishQueue {
	queue := q.queues[name]
	if queue == nil {
		queue = &publishQueue{owner: q, topic: topic, name: name, key: stream.NewKey(name)}
		queue.Commit, queue.Parallel, queue.MaxItems = queue.commit, queue.parallel, maxPipelineCalls
		queue.Size, queue.MaxSize = func(call *publishCall) int { return call.bytes }, maxPipelineBytes
		if q.queues == nil {
			q.queues = make(map[string]*publishQueue)
		}
		q.queues[name] = queue
	}
	return queue
}

// flow returns the flow that bounds the call.
func (q *publishQueue) flow(call *publishCall) *flow {
	flows := &q.owner.flows
	if q.owner.spread {
		flows = &q.flows
	}
	flow := flows.of(call)
	flow.timeout = q.owner.timeout
	return flow
}

// await waits until the call is admitted. If it returns an error, the call has left the queue.
func (q *publishQueue) await(call *publishCall, admission *admission, watch *contextWatch) error {
	if admission == nil {
		return nil
	}
	var err error
	select {
	case err = <-admission.result:
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
	case refused := <-admission.result: // meanwhile
		if refused == nil {
			flow.leave(1, call.bytes)
		}
	default:
		flow.forget(admission) // no effect if it was refused
	}
	q.leave(1)
	return err
}

// leave ends calls of the queue. It is called with owner.mu held.
func (q *publishQueue) leave(calls int) {
	q.calls -= calls
	if q.calls == 0 && len(q.owner.queues) > max(q.owner.idle, maxIdleQueues) {
		q.owner.forgetOne(q)
	}
}

const (
	// maxIdleQueues is how many topics keep their queue, with its measured round trip and its producers,
	// while no call is under way.
	maxIdleQueues = 128
	// maxForgetLooks bounds the search for a queue to forget.
	maxForgetLooks = 8
)

// forgetOne forgets an idle queue: rather another one than the one that was just used. So the lanes of
// masters that are gone do not take the place of others for ever.
func (q *publishQueues) forgetOne(used *publishQueue) {
	looks := 0
	for name, queue := range q.queues { // the order is random
		if queue != used && queue.calls == 0 {
			delete(q.queues, name)
			return
		}
		if looks++; looks == maxForgetLooks {
			break
		}
	}
	delete(q.queues, used.name)
}

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

// start sends a call that is admitted. It ends when its result is in the requests. A call that
// can't be cancelled is sent in the caller's goroutine, which saves a switch.
func (q *publishQueue) start(call *publishCall) {
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

// withdraw removes a call of which nothing was written yet, and reports whether it did.
func (q *publishQueue) withdraw(call *publishCall) bool {
	if !call.large() && q.Remove(func(other *publishCall) bool { return other == call }) {
		q.owner.mu.Lock()
		defer q.owner.mu.Unlock()
		q.flow(call).leave(1, call.bytes)
		q.leave(1)
		return true
	}
	call.withdrawn.Store(true)
	pipeline := call.pipeline.Load()
	if pipeline == nil { // take leaves it out
		return !q.owner.idempotent
	}
	stopped := pipeline.Withdraw()
	if stopped {
		pipeline.cancel()
	}
	if q.owner.idempotent { // an earlier attempt may be known: commit ends the call
		pipeline.wake()
		return false
	}
	return stopped
}

// commit sends calls in one pipeline, and more if some are withdrawn, and settles them.
func (q *publishQueue) commit(calls []*publishCall) {
	if q.owner.idempotent {
		q.commitIdempotent(calls)
		return
	}
	began := time.Now()
	sent := q.send(calls, &calls[0].own)
	q.settle(calls, sent, time.Since(began))
	for _, call := range sent {
		call.end()
	}
}

// send sends the calls and returns those that were not withdrawn. If one is withdrawn while the
// pipeline waits for a connection, the others go in another pipeline.
func (q *publishQueue) send(calls []*publishCall, p *pipeline) []*publishCall {
	for ; ; p = p.next() {
		var ctx context.Context
		calls, ctx = p.take(contextOf(calls), calls)
		if len(calls) == 0 {
			p.cancel()
			return nil
		}
		size := 0
		for _, call := range calls {
			size += len(call.requests)
		}
		requests := make([]*stream.AddRequest, 0, size)
		for _, call := range calls {
			for _, request := range call.requests {
				if request.Open() {
					requests = append(requests, request)
				}
			}
		}
		observer := q.owner.observer
		began := observer.now()
		q.owner.adder.Add(ctx, q.key, requests, &p.Pipeline)
		if p.cancel != nil {
			p.cancel()
		}
		if !p.Withdrawn() {
			if observer != nil {
				observer.sent(q.topic, calls, len(requests), time.Since(began))
			}
			return calls
		}
	}
}

// contextOf returns the context that the client's hooks see. What several calls share belongs to none
// of them: a hook that makes spans must not put it into the trace of the first.
func contextOf(calls []*publishCall) context.Context {
	if len(calls) > 1 {
		return context.Background()
	}
	ctx := calls[0].ctx
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	return ctx
}

// settle ends the calls of a pipeline, and adjusts the flow and the round trip to what was sent.
func (q *publishQueue) settle(calls, sent []*publishCall, took time.Duration) {
	var err error // of the last reply
	if len(sent) > 0 {
		requests := sent[len(sent)-1].requests
		err = requests[len(requests)-1].Err
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
		flow.unanswered(stream.NotSent(fmt.Errorf("not sent, because the server does not answer: %w", err)))
	default:
		flow.answered(bytes, took-time.Duration(q.rtt.Load()))
	}
	flow.leave(len(calls), bytes)
	q.leave(len(calls))
}

// measured updates the shortest round trip: down at once, up slowly.
func (q *publishQueue) measured(rtt time.Duration) {
	old := q.rtt.Load()
	if old == 0 || int64(rtt) < old {
		q.rtt.Store(int64(rtt))
		return
	}
	q.rtt.Store(old + (int64(rtt)-old)/1024)
}

// parallel returns how many pipelines may be under way at the same time.
func (q *publishQueue) parallel() int {
	rtt := time.Duration(q.rtt.Load())
	if 0 < rtt && rtt < pipelineSpacing && q.owner.poller.Pays() {
		return 1
	}
	least := time.Duration(minPipelines)
	if q.name != q.topic { // other lanes keep this side busy
		least = 1
	}
	return int(min(max(rtt/pipelineSpacing, least), maxPipelines))
}

// spreads reports whether the client spreads topics over several servers.
func spreads(client redis.UniversalClient) bool {
	switch client.(type) {
	case interface{ Options() *redis.Options }:
		return false
	default:
		return true
	}
}
