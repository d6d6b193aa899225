package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
)

// repeater does work at intervals. Between two runs it has a timer and no goroutine, so an idle one
// costs little.
type repeater struct {
	every  time.Duration // the pause between two runs; 0: there are none
	jitter float64       // the pause is shorter by up to this part, at random
	atOnce bool          // the first run is at the start, and not after a pause
	work   func(context.Context)

	mu      sync.Mutex
	timer   *time.Timer // nil: not started, or ended
	running sync.WaitGroup
}

// start begins with the runs. None begins after the end of ctx.
func (r *repeater) start(ctx context.Context) {
	if r.every <= 0 {
		return
	}
	first := r.pause()
	if r.atOnce {
		first = 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(first, func() { r.run(ctx) })
}

func (r *repeater) pause() time.Duration { return backoff.Jitter(r.every, r.jitter) }

func (r *repeater) run(ctx context.Context) {
	if !r.begin(ctx) {
		return
	}
	defer r.running.Done()
	r.work(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Reset(r.pause())
	}
}

// begin reports whether a run may begin.
func (r *repeater) begin(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil || ctx.Err() != nil {
		return false
	}
	r.running.Add(1)
	return true
}

// end returns when nothing runs. After its call no run begins. A run that goes on ends with its
// context, which end leaves alone.
func (r *repeater) end() {
	r.mu.Lock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.mu.Unlock()
	r.running.Wait()
}

// repeaters are started and ended together.
type repeaters []*repeater

func (all repeaters) start(ctx context.Context) {
	for _, r := range all {
		r.start(ctx)
	}
}

func (all repeaters) end() {
	for _, r := range all {
		r.end()
	}
}
