package stream

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pipelineTime is about how long the server works on a pipeline: other clients wait behind it.
	pipelineTime = time.Millisecond / 2
	// pipelines is how many pipelines are sent at the same time, so that a slow link costs little.
	pipelines = 4
)

// call is one run of a script.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
	took   time.Duration // about how long it takes the server
}

// runAll runs scripts in pipelines.
func runAll(ctx context.Context, client redis.UniversalClient, calls []call) []*redis.Cmd {
	replies := make([]*redis.Cmd, len(calls))
	slots := make(chan struct{}, pipelines)
	var running sync.WaitGroup
	for from := 0; from < len(calls); {
		to := from
		for took := time.Duration(0); to < len(calls) && took < pipelineTime; to++ {
			took += calls[to].took
		}
		batch, results := calls[from:to], replies[from:to]
		slots <- struct{}{} // each pipeline ends, also if ctx does
		running.Go(func() {
			runPipeline(ctx, client, batch, results)
			<-slots
		})
		from = to
	}
	running.Wait()
	return replies
}

// runPipeline runs scripts in a pipeline. Those that the server has not cached yet are sent again as
// a whole.
func runPipeline(ctx context.Context, client redis.UniversalClient, calls []call, replies []*redis.Cmd) {
	pipe := client.Pipeline()
	for i, c := range calls {
		replies[i] = c.script.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	_, _ = pipe.Exec(ctx) // each reply has its error
	again := client.Pipeline()
	for i, c := range calls {
		if redis.HasErrorPrefix(replies[i].Err(), "NOSCRIPT") {
			replies[i] = c.script.Eval(ctx, again, c.keys, c.args...)
		}
	}
	_, _ = again.Exec(ctx) // nothing, if it is empty
}

// runPages runs the calls of n subjects page by page, the next pages of all of them together. next
// returns the call for a page of a subject; take gets its reply, and reports whether another page
// follows.
func runPages(
	ctx context.Context, client redis.UniversalClient, n int, next func(subject, page int) call, take func(subject int, reply *redis.Cmd) bool,
) {
	open := make([]int, n)
	for i := range open {
		open[i] = i
	}
	for page := 0; len(open) > 0; page++ {
		calls := make([]call, len(open))
		for i, subject := range open {
			calls[i] = next(subject, page)
		}
		further := open[:0]
		for i, reply := range runAll(ctx, client, calls) {
			if take(open[i], reply) {
				further = append(further, open[i])
			}
		}
		open = further
	}
}
