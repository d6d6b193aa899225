package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func memoryWorks() []work {
	return []work{{
		rounds: 1,
		rows:   []row{{"heap with 1 MiB payloads, a backlog of 2,000", mebibytes, []want{{ours, 200}}}},
		by:     entrants{ours: memory(ourLibrary), peer: memory(peerLibrary)},
	}}
}

// memory measures the peak heap while a consumer takes 5 ms for each message of 1 MiB. It is the
// heap of the whole process; other garbage is collected before.
func memory(lib library) measurement {
	return func(r *run) []float64 {
		r.fill(r.bigBacklog, make([]byte, 1<<20))
		subscriber := r.subscriber(lib, settings{})
		debug.FreeOSMemory()
		r.consume(subscriber, func(*message.Message) { time.Sleep(5 * time.Millisecond) })
		peak := uint64(0)
		for deadline := time.Now().Add(r.memorySpan); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			peak = max(peak, heapInUse())
		}
		return []float64{float64(peak) / (1 << 20)}
	}
}

// heapInUse returns runtime.MemStats.HeapInuse, but does not stop the world.
func heapInUse() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(samples)
	return samples[0].Value.Uint64() + samples[1].Value.Uint64()
}
