package main

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func closingWorks() []work {
	quick := []want{{ours, 0.1}}
	return []work{
		{
			rows: []row{{"Close of an idle subscription", duration, quick}},
			by:   entrants{ours: closingIdle(ourLibrary, 1), peer: closingIdle(peerLibrary, 1)},
		},
		{
			rows: []row{{"Close of 50 idle subscriptions", duration, quick}},
			by:   entrants{ours: closingIdle(ourLibrary, 50), peer: closingIdle(peerLibrary, 50)},
		},
		{
			rounds: 1,
			rows:   []row{{"Close in a nack backoff of 5 s", duration, quick}},
			by:     entrants{ours: closingNacked(ourLibrary), peer: closingNacked(peerLibrary)},
		},
		{
			rounds: 3,
			rows:   []row{{"handover: A closes with backlog read ahead, B has it", duration, []want{{ours, 2}}}},
			by:     entrants{ours: handover(ourLibrary), peer: handover(peerLibrary)},
		},
	}
}

// closingIdle measures Close of a Subscriber with subscriptions that wait for entries.
func closingIdle(lib library, subscriptions int) measurement {
	return func(r *run) []float64 {
		subscriber := r.subscriber(lib, settings{poolSize: 2 * subscriptions})
		for i := range subscriptions {
			_, err := subscriber.Subscribe(context.Background(), fmt.Sprint(topic, i))
			check(err)
		}
		waitFor("blocked reads", func() bool { return int(r.info("clients", "blocked_clients")) >= subscriptions })
		return timeClose(subscriber)
	}
}

// closingNacked measures Close while a nacked message waits for its redelivery.
func closingNacked(lib library) measurement {
	return func(r *run) []float64 {
		r.fill(1, make([]byte, payloadSize))
		subscriber := r.subscriber(lib, settings{nackBackoff: r.nackBackoff})
		messages, err := subscriber.Subscribe(context.Background(), topic)
		check(err)
		(<-messages).Nack()
		time.Sleep(r.nackBackoff / 50)
		return timeClose(subscriber)
	}
}

func timeClose(subscriber message.Subscriber) []float64 {
	began := time.Now()
	check(subscriber.Close())
	return []float64{time.Since(began).Seconds()}
}

// handover measures the time from the Close of a consumer with a read-ahead backlog until another
// consumer has handled everything.
func handover(lib library) measurement {
	return func(r *run) []float64 {
		r.fill(r.handover, make([]byte, payloadSize))
		var handled atomic.Int64
		closing := make(chan struct{})
		a := r.subscriber(lib, settings{})
		r.consume(a, func(*message.Message) {
			if handled.Add(1) > int64(r.handover)/4 {
				<-closing
			}
		})
		waitFor("a handler that hangs", func() bool { return handled.Load() > int64(r.handover)/4 })
		r.consume(r.subscriber(lib, settings{}), func(*message.Message) {})
		waitFor("a backlog held by the first consumer only", func() bool {
			return r.progress().read == int64(r.handover) && r.holders() == 1
		})

		began := time.Now()
		close(closing)
		check(a.Close())
		if !until(r.patience, func() bool { return r.acked() == int64(r.handover) }) {
			return []float64{math.Inf(1)}
		}
		return []float64{time.Since(began).Seconds()}
	}
}

// holders returns how many consumers have pending entries.
func (r *run) holders() int {
	pending, err := r.redis().client.XPending(context.Background(), topic, group).Result()
	check(err)
	return len(pending.Consumers)
}
