package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A faultKind is something that goes wrong.
type faultKind string

const (
	killWorker      faultKind = "worker killed"            // SIGKILL; started again after a pause
	closeWorker     faultKind = "worker closed"            // SIGTERM; likewise
	stopWorker      faultKind = "worker stopped"           // SIGSTOP for longer than ClaimMinIdle
	cutWorker       faultKind = "worker's connections cut" // at once
	tearRequest     faultKind = "request torn"             // in the middle of what a worker or the publishers send next
	tearReply       faultKind = "reply torn"               // in the middle of what they receive next
	cutStorm        faultKind = "connections cut again and again"
	cutPublishers   faultKind = "publishers' connections cut"
	crashServer     faultKind = "server killed"
	hiccupServer    faultKind = "server paused shortly" // shorter than ClaimMinIdle
	pauseServer     faultKind = "server paused for long"
	destroyGroup    faultKind = "group destroyed"
	publishersProxy           = -1 // as a target: not a worker but the publishers
)

// fault is a fault at its time.
type fault struct {
	at     time.Duration
	kind   faultKind
	target int // a worker, a group or publishersProxy
	lasts  time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("%7.3fs %s, target %d, for %s", f.at.Seconds(), f.kind, f.target, f.lasts.Round(time.Millisecond))
}

// how often each kind comes, compared with others.
var weights = []struct {
	kind   faultKind
	weight int
}{
	{killWorker, 8},
	{closeWorker, 4},
	{stopWorker, 3},
	{cutWorker, 3},
	{tearRequest, 3},
	{tearReply, 3},
	{cutStorm, 2},
	{cutPublishers, 2},
	{crashServer, 2},
	{hiccupServer, 1},
	{pauseServer, 1},
	{destroyGroup, 1},
}

const (
	calmStart  = time.Second            // before the first fault
	faultEvery = 500 * time.Millisecond // on average
)

// plan makes a schedule of the seed alone: the same seed is the same schedule, whatever happens in between.
func plan(seed uint64, duration, claimMinIdle time.Duration, workers, groups int) []fault {
	random := rand.New(rand.NewPCG(seed, 1))
	between := func(low, high float64) time.Duration {
		return time.Duration((low + (high-low)*random.Float64()) * float64(claimMinIdle))
	}
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	free := make([]time.Duration, workers+1) // when each worker, and at last the server, has no trouble any more
	var faults []fault
	for at := calmStart; at < duration; at += time.Duration(random.ExpFloat64() * float64(faultEvery)) {
		f := fault{at: at}
		for n := random.IntN(total); f.kind == ""; {
			for _, w := range weights {
				if n -= w.weight; n < 0 {
					f.kind = w.kind
					break
				}
			}
		}
		var owner int // of the trouble
		f.target = random.IntN(workers)
		owner = f.target
		switch f.kind {
		case killWorker, closeWorker:
			f.lasts = between(0, 1.5)
		case stopWorker:
			f.lasts = between(1.2, 3)
		case tearRequest, tearReply, cutStorm:
			f.lasts = between(0.2, 1.5)
			if random.IntN(4) == 0 {
				f.target, owner = publishersProxy, workers
			}
		case cutWorker:
		case cutPublishers:
			f.target, owner = publishersProxy, workers
		case crashServer:
			f.lasts, owner = between(0.05, 1.5), workers
		case hiccupServer:
			f.lasts, owner = between(0.2, 0.8), workers
		case pauseServer:
			f.lasts, owner = between(1.2, 3), workers
		case destroyGroup:
			f.target, owner = random.IntN(groups), workers
		}
		if free[owner] > at || at+f.lasts > duration {
			continue
		}
		free[owner] = at + f.lasts + between(0.1, 0.5)
		faults = append(faults, f)
	}
	return faults
}
