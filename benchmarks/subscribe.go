package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func subscribeWorks() []work {
	return []work{
		{
			rows: []row{{"1 strict subscription on a backlog", perSecond, []want{{limit, 0.8}, {peer, 12}}}},
			by:   entrants{draining(ourLibrary, 1), draining(peerLibrary, 1), drainingByHand},
		},
		{
			rows: []row{{"1 strict subscription with Prometheus; limit: ours without", perSecond, []want{{limit, 0.95}}}},
			by: entrants{
				ours:  draining(observed(ourLibrary), 1),
				limit: draining(ourLibrary, 1),
			},
		},
		{
			rows: []row{{"16 subscriptions of a group on a backlog", perSecond, []want{{peer, 4}}}},
			by:   entrants{ours: draining(ourLibrary, 16), peer: draining(peerLibrary, 16)},
		},
		{
			rows: []row{{"MaxInFlight 64, handlers sleep 10 ms", perSecond, []want{{ours, 5000}}}},
			by:   entrants{ours: drainingInGoroutines(ourLibrary, 64), peer: drainingInGoroutines(peerLibrary, 1)},
		},
	}
}

// draining measures strict subscriptions that share a backlog. Each has its own Subscriber.
func draining(lib library, subscribers int) measurement {
	return func(r *run) []float64 {
		all := make([]message.Subscriber, subscribers)
		for i := range all {
			all[i] = r.subscriber(lib, settings{})
		}
		return r.drain(r.span, func(handled func()) {
			for _, subscriber := range all {
				r.consume(subscriber, func(*message.Message) { handled() })
			}
		})
	}
}

// drainingInGoroutines measures a subscription whose handlers sleep 10 ms, each in a goroutine as
// in Watermill's Router.
func drainingInGoroutines(lib library, inFlight int) measurement {
	return func(r *run) []float64 {
		subscriber := r.subscriber(lib, settings{inFlight: inFlight})
		return r.drain(2*r.span, func(handled func()) {
			messages, err := subscriber.Subscribe(context.Background(), topic)
			check(err)
			r.handlers.Go(func() {
				for msg := range messages {
					r.handlers.Go(func() {
						time.Sleep(10 * time.Millisecond)
						handled()
						msg.Ack()
					})
				}
			})
		})
	}
}

// drainingByHand measures the limit for subscribing.
func drainingByHand(r *run) []float64 {
	client := r.client()
	return r.drain(r.span, func(handled func()) {
		check(client.XGroupCreate(context.Background(), topic, group, "0").Err())
		stopped, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- readAll(client, stopped, handled) }()
		r.atEnd(func() {
			close(stopped)
			check(<-ended)
		})
	})
}

// drain starts consumers on a backlog, waits for the span or until all entries are handled, and
// returns the acknowledged entries per second, as counted by the server.
func (r *run) drain(span time.Duration, start func(handled func())) []float64 {
	r.fill(r.backlog, make([]byte, payloadSize))
	var count atomic.Int64
	all := make(chan struct{})
	began := time.Now()
	start(func() {
		if count.Add(1) == int64(r.backlog) {
			close(all)
		}
	})
	select {
	case <-all:
	case <-time.After(span):
	}
	elapsed := time.Since(began)
	return []float64{float64(r.acked()) / elapsed.Seconds()}
}
