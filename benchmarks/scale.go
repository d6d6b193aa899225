package main

import "time"

// scale has the sizes of the measurements.
type scale struct {
	span    time.Duration // duration of a throughput measurement
	backlog int           // entries in the backlog of a throughput measurement

	latencySpan time.Duration // duration of the latency measurement
	taskTime    time.Duration // time that a slow handler takes
	idleSpan    time.Duration // duration of the measurement of an idle subscription
	nackBackoff time.Duration // Close is called during it
	claimIdle   time.Duration // ClaimMinIdle; handlers take three times as long
	handover    int           // entries of the handover
	patience    time.Duration // time limit for works that may take minutes
	bigBacklog  int           // entries of 1 MiB
	memorySpan  time.Duration // duration of the memory measurement
	counted     int           // messages of the work that counts losses
}

var (
	full = scale{
		span: 300 * time.Millisecond, backlog: 40_000,
		latencySpan: time.Second, taskTime: time.Second, idleSpan: 6 * time.Second,
		nackBackoff: 5 * time.Second, claimIdle: 500 * time.Millisecond,
		handover: 2_000, patience: 3 * time.Second, bigBacklog: 2_000, memorySpan: 3 * time.Second, counted: 2_000,
	}
	tiny = scale{
		span: 30 * time.Millisecond, backlog: 1_000,
		latencySpan: 100 * time.Millisecond, taskTime: 100 * time.Millisecond, idleSpan: 500 * time.Millisecond,
		nackBackoff: 300 * time.Millisecond, claimIdle: 100 * time.Millisecond,
		handover: 500, patience: 3 * time.Second, bigBacklog: 20, memorySpan: 200 * time.Millisecond, counted: 100,
	}
)
