package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
)

// play starts the faults at their times, and returns when all are healed.
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

// inflict starts one fault and heals it at its end.
func (r *run) inflict(ctx context.Context, f fault) {
	heal := r.begin(ctx, f)
	wait(ctx, f.lasts)
	heal()
}

// begin starts a fault and returns a function that heals it.
func (r *run) begin(ctx context.Context, f fault) (heal func()) {
	switch f.kind {
	case killWorker:
		r.workers[f.target].kill()
		return func() { r.start(r.workers[f.target]) }
	case closeWorker:
		_ = r.workers[f.target].terminate() // a failure is recorded in its life
		return func() { r.start(r.workers[f.target]) }
	case stopWorker:
		r.workers[f.target].stop()
		return r.workers[f.target].resume
	case destroyGroup:
		r.destroy(ctx, r.groups[f.target].Name)
	case failKey:
		r.failKey(f)
	case pauseGroup:
		return r.pauseGroup(ctx, f)
	case pauseOne:
		return r.pauseSubscription(f)
	case cutWorker, cutPublishers, tearRequest, tearReply, cutStorm, hangNetwork:
		return r.disturb(f)
	case crashServer, hiccupServer, pauseServer, jumpClock, moveSlot:
		return r.disturbServer(f)
	}
	return func() {}
}

// disturb starts a network fault of a worker or of the publishers.
func (r *run) disturb(f fault) (heal func()) {
	began, links := time.Now(), r.network(f.target)
	record := r.cuts
	switch f.kind {
	case tearRequest:
		links.filter(tear(1), nil)
	case tearReply:
		links.filter(nil, tear(1))
	case cutStorm:
		record = r.storms
		links.filter(tear(stormy), tear(stormy))
	case hangNetwork:
		record = r.storms
		links.each((*redistest.Proxy).Hang)
	default:
		links.cut()
	}
	return func() {
		links.filter(nil, nil)
		links.each((*redistest.Proxy).Resume)
		over := time.Now().Add(calm)
		r.note(func() { record[f.target] = append(record[f.target], span{began.UnixNano(), over.UnixNano()}) })
	}
}

// disturbServer starts a fault of a server, or changes its clock.
func (r *run) disturbServer(f fault) (heal func()) {
	r.servers.mu.Lock()
	over := r.servers.mu.Unlock
	n := r.servers.from(f.target)
	server, began := r.servers.all[n], time.Now()
	switch f.kind {
	case crashServer:
		server.Kill()
		return func() {
			defer over()
			by := r.setClock(n, f.clock)
			if err := r.servers.relaunch(n); err != nil {
				r.fail(err.Error())
			}
			r.jumped(n, by, began)
		}
	case jumpClock:
		r.jumped(n, r.setClock(n, f.clock), began)
	case moveSlot:
		by := r.servers.clocks[n] - r.servers.clocks[r.servers.home]
		if err := r.servers.move(r.topic, n); err != nil {
			r.fail(err.Error())
		}
		r.jumped(n, by, began)
	default:
		server.Pause()
		return func() {
			defer over()
			server.Resume()
		}
	}
	return over
}

func (r *run) destroy(ctx context.Context, name string) {
	began := time.Now()
	_ = r.client.XGroupDestroy(ctx, r.topic, name).Err() // after an error the group may be destroyed too
	r.note(func() { r.destroyed[name] = append(r.destroyed[name], span{began.UnixNano(), time.Now().UnixNano()}) })
}

// calm is how long after a cut storm retries may still wait, because their pauses have grown.
const calm = time.Second

// stormy: a cut storm tears one chunk in ten.
const stormy = 10

// tear returns a filter that passes half of a chunk and cuts the connection. It does so
// with every nth chunk, or only with the first if every is 1.
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

// network returns the network of a worker or of the publishers.
func (r *run) network(target int) *network {
	if target == publishersNetwork {
		return r.publishing
	}
	return r.networks[target]
}

// failKey makes a key fail until the fault is over.
func (r *run) failKey(f fault) {
	now := time.Now()
	failing := failingKey{span{now.UnixNano(), now.Add(f.lasts).UnixNano()}, strconv.Itoa(f.target)}
	r.note(func() { r.failing = append(r.failing, failing) })
}

// failingNow returns the key that fails now, and its end.
func (r *run) failingNow() (key string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failing) == 0 {
		return "", time.Time{}
	}
	last := r.failing[len(r.failing)-1]
	if until = time.Unix(0, last.to); time.Now().After(until) {
		return "", time.Time{}
	}
	return last.key, until
}

func (r *run) start(w *worker) {
	if err := w.start(); err != nil {
		r.fail(fmt.Sprintf("%s can't be started: %v", w.name, err))
	}
}

// wait waits for d, and reports whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
