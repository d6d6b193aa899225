package redisstream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace/redisstream/internal/stream"
)

// A message of largeMessage bytes or more has a pipeline of its own: if it fails, no other does.
const largeMessage = 64 << 10

// publishCall is one call of Publish, or a part of one, that is under way. The queue owns requests
// until the call has ended.
type publishCall struct {
	ctx       context.Context //nolint:containedctx // for the hooks of the client
	cancelled <-chan struct{} // nil: never
	watch     *contextWatch   // why it was cancelled
	requests  []*stream.AddRequest
	bytes     int   // about the size of requests on the wire
	lane      *lane // the call is part of its load; nil: none
	ended     sync.WaitGroup
	done      chan struct{} // closed when the call has ended; nil: it can't be cancelled, and nobody selects

	withdrawn atomic.Bool              // the caller does not wait, unless a pipeline with the call is on the wire
	pipeline  atomic.Pointer[pipeline] // the last one with the call
	own       pipeline                 // memory for the first pipeline that begins with the call
}

// pipeline is one attempt to send some calls together.
type pipeline struct {
	stream.Pipeline
	cancel context.CancelFunc // nil: none of the calls can be withdrawn
	woken  chan struct{}      // tells an Idempotent pipeline that waits for its next attempt that a call was withdrawn
}

// next returns a pipeline for the next attempt.
func (p *pipeline) next() *pipeline {
	following := &pipeline{woken: p.woken}
	following.Producer, following.NotAfter = p.Producer, p.NotAfter
	return following
}

// wake ends the pause before the next attempt.
func (p *pipeline) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (c *publishCall) begin() {
	if c.lane != nil {
		c.lane.load.Add(int64(c.bytes + callLoad))
	}
	c.ended.Add(1)
	if c.cancelled != nil {
		c.done = make(chan struct{})
	}
}

// end tells the caller that the result is in the requests.
func (c *publishCall) end() {
	c.leaveLane()
	if c.done != nil {
		close(c.done)
	}
	c.ended.Done()
}

// leaveLane ends the call's part of the load. A call that is withdrawn, or was never admitted, has no
// other end.
func (c *publishCall) leaveLane() {
	if c.lane != nil {
		c.lane.load.Add(-int64(c.bytes + callLoad))
	}
}

// large reports whether the call is one message that goes alone.
func (c *publishCall) large() bool { return c.bytes >= largeMessage && len(c.requests) == 1 }

// take returns the calls whose callers still wait, and the context of the pipeline.
func (p *pipeline) take(ctx context.Context, calls []*publishCall) ([]*publishCall, context.Context) {
	if !slices.ContainsFunc(calls, func(call *publishCall) bool { return call.cancelled != nil }) {
		return calls, ctx
	}
	ctx, p.cancel = context.WithCancel(ctx)
	if p.Producer != nil && p.woken == nil {
		p.woken = make(chan struct{}, 1)
	}
	waiting := make([]*publishCall, 0, len(calls))
	for _, call := range calls {
		call.pipeline.Store(p)
		if !call.withdrawn.Load() {
			waiting = append(waiting, call)
		}
	}
	return waiting, ctx
}
