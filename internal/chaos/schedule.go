package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A faultKind is something that goes wrong.
type faultKind string

const (
	killWorker    faultKind = "worker killed"            // SIGKILL; started again after a pause
	closeWorker   faultKind = "worker closed"            // SIGTERM; likewise
	stopWorker    faultKind = "worker stopped"           // SIGSTOP for longer than ClaimMinIdle
	cutWorker     faultKind = "worker's connections cut" // at once
	tearRequest   faultKind = "request torn"             // in the middle of what a worker or the publishers send next
	tearReply     faultKind = "reply torn"               // in the middle of what they receive next
	cutStorm      faultKind = "connections cut again and again"
	cutPublishers faultKind = "publishers' connections cut"
	crashServer   faultKind = "server killed"
	hiccupServer  faultKind = "server paused shortly" // shorter than ClaimMinIdle
	pauseServer   faultKind = "server paused for long"
	destroyGroup  faultKind = "group destroyed"
)

// publishersProxy as a target is not a worker's proxy but that of the publishers.
const publishersProxy = -1

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
	p := planner{rand.New(rand.NewPCG(seed, 1)), claimMinIdle, workers, groups}
	free := make(map[int]time.Duration) // when whoever is in trouble has none any more
	var faults []fault
	for at := calmStart; at < duration; at += time.Duration(p.ExpFloat64() * float64(faultEvery)) {
		f, owner := p.fault(p.kind())
		f.at = at
		if free[owner] > at || at+f.lasts > duration {
			continue
		}
		free[owner] = at + f.lasts + p.between(0.1, 0.5)
		faults = append(faults, f)
	}
	return faults
}

type planner struct {
	*rand.Rand
	claimMinIdle    time.Duration
	workers, groups int
}

func (p planner) kind() faultKind {
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	n := p.IntN(total)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return w.kind
		}
	}
	panic("unreachable")
}

// between returns a time between two multiples of ClaimMinIdle.
func (p planner) between(low, high float64) time.Duration {
	return time.Duration((low + (high-low)*p.Float64()) * float64(p.claimMinIdle))
}

// everybody is the owner of trouble that is not a worker's.
const everybody = -1

// fault returns a fault, and whose trouble it is: of one at a time.
func (p planner) fault(kind faultKind) (f fault, owner int) {
	worker := p.IntN(p.workers)
	f = fault{kind: kind, target: worker}
	switch kind {
	case killWorker, closeWorker:
		f.lasts = p.between(0, 1.5)
	case stopWorker:
		f.lasts = p.between(1.2, 3)
	case cutWorker:
	case tearRequest, tearReply, cutStorm:
		f.lasts = p.between(0.2, 1.5)
		if p.IntN(4) == 0 {
			f.target = publishersProxy
			return f, everybody
		}
	case cutPublishers:
		f.target = publishersProxy
		return f, everybody
	case crashServer:
		f.lasts = p.between(0.05, 1.5)
		return f, everybody
	case hiccupServer:
		f.lasts = p.between(0.2, 0.8)
		return f, everybody
	case pauseServer:
		f.lasts = p.between(1.2, 3)
		return f, everybody
	case destroyGroup:
		f.target = p.IntN(p.groups)
		return f, everybody
	}
	return f, worker
}
