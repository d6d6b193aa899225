package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
)

// A memberFault is a fault that begins and is healed before it returns.
type memberFault struct {
	name   string
	happen func(r *memberRun, ctx context.Context)
}

var memberFaults = []memberFault{
	{"member killed", (*memberRun).killOne},
	{"two members killed", (*memberRun).killTwo},
	{"member stopped for longer than its lease", (*memberRun).stopOne},
	{"member closed", (*memberRun).closeOne},
	{"rolling restart", (*memberRun).rollingRestart},
	{"master killed", (*memberRun).killMaster},
	{"slots moved", (*memberRun).moveSlots}, // in a cluster only
}

// play makes faults until ctx ends: all kinds in an order that the seed decides, and again.
func (r *memberRun) play(ctx context.Context) {
	for {
		for _, i := range r.random.Perm(len(memberFaults)) {
			if !wait(ctx, r.between(500*time.Millisecond, memberLease)) {
				return
			}
			f := memberFaults[i]
			if f.name == "slots moved" && !r.cluster {
				continue
			}
			r.made[f.name]++
			began := time.Now()
			f.happen(r, ctx)
			r.verbose(fmt.Sprintf("%s: %s, for %s", clock(began.UnixNano()), f.name, time.Since(began).Round(time.Millisecond)))
		}
	}
}

func (r *memberRun) between(low, high time.Duration) time.Duration {
	return low + time.Duration(r.random.Int64N(int64(high-low)))
}

func (r *memberRun) killOne(ctx context.Context) { r.kill(ctx, 1) }
func (r *memberRun) killTwo(ctx context.Context) { r.kill(ctx, 2) }

// kill kills members and restarts them later, most often when their leases are over.
func (r *memberRun) kill(ctx context.Context, n int) {
	victims := r.random.Perm(len(r.workers))[:n]
	for _, i := range victims {
		r.workers[i].kill()
	}
	wait(ctx, r.between(0, 2*memberLease))
	for _, i := range victims {
		r.start(r.workers[i])
	}
}

func (r *memberRun) stopOne(ctx context.Context) {
	w := r.workers[r.random.IntN(len(r.workers))]
	w.stop()
	wait(ctx, r.between(memberLease*11/10, memberLease*2))
	w.resume()
}

func (r *memberRun) closeOne(ctx context.Context) {
	w := r.workers[r.random.IntN(len(r.workers))]
	_ = w.terminate() // a failure is recorded in its life
	wait(ctx, r.between(0, 2*memberLease))
	r.start(w)
}

func (r *memberRun) rollingRestart(ctx context.Context) {
	for _, w := range r.workers {
		_ = w.terminate() // a failure is recorded in its life
		r.start(w)
		wait(ctx, r.between(100*time.Millisecond, time.Second))
	}
}

// killMaster kills the server, or the master of a partition: then its replica takes over.
func (r *memberRun) killMaster(ctx context.Context) {
	began := time.Now()
	err := r.outside.Try(func(tb testing.TB) {
		tb.Helper()
		server := r.nodes[0]
		if r.cluster {
			key := r.anyStream()
			r.full.AwaitReady(tb)
			server = r.full.Master(tb, key)
			server.Kill()
			r.full.AwaitFailover(tb, key, server)
		} else {
			server.Kill()
			wait(ctx, r.between(100*time.Millisecond, memberLease*3/2))
		}
		server.Restart(tb)
		if r.cluster {
			r.full.AwaitReady(tb)
		}
	})
	r.trouble(began, memberLease, err) // clients look for the new master, and acquire again what they lost
}

// moveSlots moves the slots of some partitions to other masters.
func (r *memberRun) moveSlots(context.Context) {
	began := time.Now()
	err := r.outside.Try(func(tb testing.TB) {
		tb.Helper()
		r.full.AwaitReady(tb)
		for range 3 {
			key := r.anyStream()
			r.full.MoveSlot(tb, key, r.anyMaster(tb, r.full.Master(tb, key)))
		}
	})
	r.trouble(began, 0, err)
}

func (r *memberRun) anyStream() string {
	return redisstream.PartitionTopic(sharedTopic, r.random.IntN(memberPartitions), memberPartitions)
}

// anyMaster returns a master other than this one.
func (r *memberRun) anyMaster(tb testing.TB, other *redistest.Server) *redistest.Server {
	tb.Helper()
	for {
		if m := r.full.Master(tb, r.anyStream()); m != other {
			return m
		}
	}
}

// trouble records that a server was down, and how long clients may need until all is as before.
func (r *memberRun) trouble(began time.Time, after time.Duration, err error) {
	r.note(func() { r.troubles = append(r.troubles, span{began.UnixNano(), time.Now().Add(after).UnixNano()}) })
	if err != nil {
		r.fail(err.Error())
	}
}
