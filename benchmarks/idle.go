package main

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func idleWorks() []work {
	return []work{{
		rounds: 1,
		rows: []row{
			{"idle group subscription: commands", perSecondLess, []want{{ours, 2}}},
			{"idle group subscription: connections", count, []want{{ours, 1}}},
		},
		by: entrants{ours: idle(ourLibrary), peer: idle(peerLibrary)},
	}}
}

// idle measures the commands per second of a subscription that has handled one message and gets no
// other, and the connections that it adds to those of its client.
func idle(lib library) measurement {
	return func(r *run) []float64 {
		r.fill(1, make([]byte, payloadSize))
		subscriber := r.subscriber(lib, settings{})
		connections := r.info("clients", "connected_clients")
		r.consume(subscriber, func(*message.Message) {})
		waitFor("one message", func() bool { return r.acked() == 1 })

		began := time.Now()
		commands := r.info("stats", "total_commands_processed")
		time.Sleep(r.idleSpan)
		commands = r.info("stats", "total_commands_processed") - commands - 1 // without the first INFO
		elapsed := time.Since(began)
		connections = r.info("clients", "connected_clients") - connections
		return []float64{commands / elapsed.Seconds(), connections}
	}
}

// info returns a number from a section of the server's INFO.
func (r *run) info(section, name string) float64 {
	n, err := infoNumber(r.redis().client.Info(context.Background(), section), name)
	check(err)
	return n
}
