package main

import "time"

// scale is how much a measurement does.
type scale struct {
	span    time.Duration // how long a speed is measured
	backlog int           // entries that wait for consumers whose speed is measured

	latencySpan time.Duration // how long messages are sent whose latency is measured
	taskTime    time.Duration // what a slow handler takes
	idleSpan    time.Duration // how long an idle subscription is watched
	nackBackoff time.Duration // during which Close is called
	claimIdle   time.Duration // ClaimMinIdle, where a handler takes three times as long
	handover    int           // entries that one consumer leaves to another in part
	patience    time.Duration // how long to wait for what may take minutes
	bigBacklog  int           // entries of 1 MiB
	memorySpan  time.Duration // how long memory is watched
}

var (
	full = scale{
		span: 300 * time.Millisecond, backlog: 40_000,
		latencySpan: time.Second, taskTime: time.Second, idleSpan: 6 * time.Second,
		nackBackoff: 5 * time.Second, claimIdle: 500 * time.Millisecond,
		handover: 2_000, patience: 3 * time.Second, bigBacklog: 2_000, memorySpan: 3 * time.Second,
	}
	tiny = scale{
		span: 30 * time.Millisecond, backlog: 1_000,
		latencySpan: 100 * time.Millisecond, taskTime: 100 * time.Millisecond, idleSpan: 500 * time.Millisecond,
		nackBackoff: 300 * time.Millisecond, claimIdle: 100 * time.Millisecond,
		handover: 500, patience: 3 * time.Second, bigBacklog: 20, memorySpan: 200 * time.Millisecond,
	}
)
