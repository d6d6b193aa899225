package main

import (
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func sharingWorks() []work {
	return []work{
		{
			rounds: 1,
			rows:   []row{{"4 consumers, 40 messages, handlers of 1 s: all done", duration, []want{{ours, 12}}}},
			by:     entrants{ours: fourConsumers(ourLibrary), peer: fourConsumers(peerLibrary)},
		},
		{
			rounds: 1,
			rows:   []row{{"handlers of 3x ClaimMinIdle: deliveries a message", count, []want{{ours, 1}}}},
			by:     entrants{ours: slowHandlers(ourLibrary), peer: slowHandlers(peerLibrary)},
		},
	}
}

// fourConsumers measures the time of four consumers with forty messages. It is shortest if each
// gets ten.
func fourConsumers(lib library) measurement {
	const consumers, messages = 4, 40
	return func(r *run) []float64 {
		r.fill(messages, make([]byte, payloadSize))
		began := time.Now()
		for range consumers {
			r.consume(r.subscriber(lib, settings{}), func(*message.Message) { time.Sleep(r.taskTime) })
		}
		waitFor("all tasks", func() bool { return r.acked() == messages })
		return []float64{time.Since(began).Seconds()}
	}
}

// slowHandlers counts deliveries per message when handlers take longer than ClaimMinIdle and two
// consumers claim entries.
func slowHandlers(lib library) measurement {
	const consumers, messages = 2, 4
	return func(r *run) []float64 {
		r.fill(messages, make([]byte, payloadSize))
		var deliveries atomic.Int64
		for range consumers {
			r.consume(r.subscriber(lib, settings{claimIdle: r.claimIdle}), func(*message.Message) {
				deliveries.Add(1)
				time.Sleep(3 * r.claimIdle)
			})
		}
		waitFor("all messages", func() bool { return r.acked() == messages })
		return []float64{float64(deliveries.Load()) / messages}
	}
}
