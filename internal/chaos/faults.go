package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
)

// play lets the faults happen at their times, and returns when all are over and healed.
func (r *run) play(ctx context.Context, faults []fault) {
	began := time.Now()
	var all sync.WaitGroup
	for _, f := range faults {
		if !wait(ctx, time.Until(began.Add(f.at))) {
			break
		}
		r.done[f.kind]++
		r.verbose(f)
		all.Go(func() { r.inflict(ctx, f) })
	}
	all.Wait()
}

// inflict makes one fault and heals it.
func (r *run) inflict(ctx context.Context, f fault) {
	heal := r.begin(ctx, f)
	wait(ctx, f.lasts)
	heal()
}

// begin makes a fault and returns what heals it.
func (r *run) begin(ctx context.Context, f fault) (heal func()) {
	switch f.kind {
	case killWorker:
		r.workers[f.target].kill()
		return func() { r.start(r.workers[f.target]) }
	case closeWorker:
		_ = r.workers[f.target].terminate() // noted with its life
		return func() { r.start(r.workers[f.target]) }
	case stopWorker:
		r.workers[f.target].stop()
		return r.workers[f.target].resume
	case cutWorker, cutPublishers:
		r.proxy(f.target).Cut()
	case tearRequest:
		r.proxy(f.target).OnSend(tear(1))
		return func() { r.proxy(f.target).OnSend(nil) }
	case tearReply:
		r.proxy(f.target).OnReply(tear(1))
		return func() { r.proxy(f.target).OnReply(nil) }
	case cutStorm:
		r.proxy(f.target).OnSend(tear(stormy))
		r.proxy(f.target).OnReply(tear(stormy))
		began := time.Now()
		return func() {
			r.proxy(f.target).OnSend(nil)
			r.proxy(f.target).OnReply(nil)
			over := time.Now().Add(calm)
			r.note(func() { r.storms[f.target] = append(r.storms[f.target], span{began.UnixNano(), over.UnixNano()}) })
		}
	case crashServer:
		r.server.Kill()
		return r.relaunch
	case hiccupServer, pauseServer:
		r.server.Pause()
		return r.server.Resume
	case destroyGroup:
		r.destroy(ctx, r.groups[f.target].Name)
	}
	return func() {}
}

func (r *run) destroy(ctx context.Context, name string) {
	began := time.Now()
	_ = r.client.XGroupDestroy(ctx, r.topic, name).Err() // whether it did it or not, it may have
	r.note(func() { r.destroyed[name] = append(r.destroyed[name], span{began.UnixNano(), time.Now().UnixNano()}) })
}

// calm is how long after a storm of cuts all tries again may take: their pauses have grown.
const calm = time.Second

// stormy is how many chunks pass before one is torn, 1 a single one that is torn.
const stormy = 10

// tear returns a filter that passes half of a chunk and cuts the connection: of the first one, or again and again.
func tear(every int64) redistest.Filter {
	var chunks atomic.Int64
	return func(chunk []byte) (int, bool) {
		n := chunks.Add(1)
		if every == 1 && n > 1 || n%every != 0 {
			return len(chunk), false
		}
		return len(chunk) / 2, true
	}
}

// proxy returns the proxy of a worker, or that of the publishers.
func (r *run) proxy(target int) *redistest.Proxy {
	if target == publishersProxy {
		return r.publishing
	}
	return r.proxies[target]
}

func (r *run) start(w *worker) {
	if err := w.start(); err != nil {
		r.fail(fmt.Sprintf("%s can't be started: %v", w.name, err))
	}
}

// relaunch starts the server again; while it was down, somebody may have taken its port for a moment.
func (r *run) relaunch() {
	var err error
	for range 10 {
		if err = r.server.Relaunch(); err == nil {
			return
		}
	}
	r.fail(fmt.Sprintf("the server can't be started again: %v", err))
}

// wait waits for d, and reports whether ctx lasted.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
