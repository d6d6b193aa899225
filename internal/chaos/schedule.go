package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A faultKind is a kind of fault.
type faultKind string

const (
	killWorker    faultKind = "worker killed"            // SIGKILL, then a restart
	closeWorker   faultKind = "worker closed"            // SIGTERM, then a restart
	stopWorker    faultKind = "worker stopped"           // SIGSTOP for longer than ClaimMinIdle
	cutWorker     faultKind = "worker's connections cut" // all at once
	tearRequest   faultKind = "request torn"             // cut in the next bytes that a worker or the publishers send
	tearReply     faultKind = "reply torn"               // cut in the next bytes that they receive
	cutStorm      faultKind = "connections cut repeatedly"
	cutPublishers faultKind = "publishers' connections cut"
	crashServer   faultKind = "server killed"
	hiccupServer  faultKind = "server paused briefly" // shorter than ClaimMinIdle
	pauseServer   faultKind = "server paused for long"
	destroyGroup  faultKind = "group destroyed"
	hangNetwork   faultKind = "network hung"        // of a worker or of the publishers
	failKey       faultKind = "key failed"          // its messages are nacked in groups with FailingKeys
	jumpClock     faultKind = "server's clock set"  // single server only: a node of a cluster would lose contact with the others
	moveSlot      faultKind = "slot of topic moved" // to another server, with its own clock
	pauseGroup    faultKind = "group paused"
	pauseOne      faultKind = "subscription paused" // one of a worker
)

// publishersNetwork is the target of network faults of the publishers.
const publishersNetwork = -1

// fault is a scheduled fault.
type fault struct {
	at     time.Duration
	kind   faultKind
	target int // by kind: a worker or publishersNetwork, a group, a key, a server counted from the topic's
	group  int // of pauseOne
	lasts  time.Duration
	clock  *time.Duration // new offset of the server's clock; nil: unchanged
}

func (f fault) String() string {
	text := fmt.Sprintf("%7.3fs %s, target %d, for %s", f.at.Seconds(), f.kind, f.target, f.lasts.Round(time.Millisecond))
	if f.clock != nil {
		text += ", clock off by " + f.clock.String()
	}
	return text
}

// weights has the relative frequency of each kind.
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
	{hangNetwork, 2},
	{failKey, 4},
	{jumpClock, 2},
	{moveSlot, 2},
	{pauseGroup, 3},
	{pauseOne, 5},
}

const (
	calmStart  = time.Second            // before the first fault
	faultEvery = 500 * time.Millisecond // on average
)

// clocks has the offsets of servers' clocks.
var clocks = []time.Duration{-time.Hour, -10 * time.Minute, 0, 10 * time.Minute, time.Hour}

// plan makes a schedule from the seed alone: the same options make the same schedule.
func plan(o options) []fault {
	p := planner{Rand: rand.New(rand.NewPCG(o.seed, 1)), options: o, servers: 1}
	if o.cluster {
		p.servers = masters
	}
	free := make(map[int]time.Duration) // when the next fault of an owner may start
	var faults []fault
	for at := calmStart; at < o.duration; at += time.Duration(p.ExpFloat64() * float64(faultEvery)) {
		f, owner := p.fault(p.kind())
		f.at = at
		if free[owner] > at || at+f.lasts > o.duration {
			continue
		}
		free[owner] = at + f.lasts + p.between(0.1, 0.5)
		faults = append(faults, f)
	}
	return faults
}

type planner struct {
	*rand.Rand
	options

	servers int
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

// between returns a random time between two multiples of ClaimMinIdle.
func (p planner) between(low, high float64) time.Duration {
	return time.Duration((low + (high-low)*p.Float64()) * float64(p.claimMinIdle))
}

const (
	everybody = -1 // owner of faults that are not a worker's
	keys      = -2 // owner of faults in handlers
	// firstPause is the owner of the pauses of the first group. Those of the others are below it, and
	// then those of each worker's subscriptions.
	firstPause = -3
)

// fault returns a fault and its owner. An owner has one fault at a time.
func (p planner) fault(kind faultKind) (f fault, owner int) {
	worker := p.IntN(p.workers)
	f = fault{kind: kind, target: worker}
	switch kind {
	case killWorker, closeWorker:
		f.lasts = p.between(0, 1.5)
	case stopWorker:
		f.lasts = p.between(1.2, 3)
	case cutWorker:
	case tearRequest, tearReply, cutStorm, hangNetwork:
		f.lasts = p.between(0.2, 1.5)
		if kind == hangNetwork {
			f.lasts *= 2
		}
		if p.IntN(4) == 0 {
			f.target = publishersNetwork
			return f, everybody
		}
	case pauseGroup:
		f.target, f.lasts = p.IntN(len(p.groups)), p.between(0.5, 6)
		return f, firstPause - f.target
	case pauseOne:
		f.group, f.lasts = p.IntN(len(p.groups)), p.between(0.5, 4)
		return f, firstPause - len(p.groups)*(1+worker) - f.group
	case failKey:
		f.target, f.lasts = p.IntN(orderingKeys), p.between(6, 10)
		return f, keys
	default:
		return p.serverFault(kind), everybody
	}
	return f, worker
}

// serverFault returns a fault of a server.
func (p planner) serverFault(kind faultKind) fault {
	f := fault{kind: kind, target: max(0, p.IntN(2*p.servers)-p.servers)} // most often the topic's server
	switch kind {
	case cutPublishers:
		f.target = publishersNetwork
	case crashServer:
		f.lasts = p.between(0.05, 1.5)
		if p.IntN(2) == 0 {
			f.clock = p.clock()
		}
	case hiccupServer:
		f.lasts = p.between(0.2, 0.8)
	case pauseServer:
		f.lasts = p.between(1.2, 3)
	case destroyGroup:
		f.target = p.IntN(len(p.groups))
	case jumpClock:
		f.clock = p.clock()
		if p.cluster {
			return p.serverFault(moveSlot)
		}
	case moveSlot:
		if !p.cluster {
			return p.serverFault(jumpClock)
		}
		f.target = 1 + p.IntN(masters-1)
	default:
		panic("unreachable")
	}
	return f
}

func (p planner) clock() *time.Duration { return new(clocks[p.IntN(len(clocks))]) }
