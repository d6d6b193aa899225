package main

import (
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

const payloadSize = 256

func publishWorks() []work {
	return []work{
		{
			rows: []row{{"Publish of 100 messages, 1 goroutine", perSecond, []want{{limit, 0.85}, {peer, 10}}}},
			by:   entrants{publishing(ourLibrary, 100, 1), publishing(peerLibrary, 100, 1), adding(100)},
		},
		{
			rows: []row{{"Publish of 1, 1 goroutine", perSecond, []want{{peer, 0.95}}}},
			by:   entrants{publishing(ourLibrary, 1, 1), publishing(peerLibrary, 1, 1), adding(1)},
		},
		{
			rows: []row{{"Publish of 1, 16 goroutines", perSecond, []want{{peer, 2}}}},
			by:   entrants{ours: publishing(ourLibrary, 1, 16), peer: publishing(peerLibrary, 1, 16)},
		},
	}
}

// publishing measures calls of Publish by goroutines that share a Publisher: messages per second,
// and the median time of a call.
func publishing(lib library, perCall, goroutines int) measurement {
	return func(r *run) []float64 {
		publisher := r.publisher(lib)
		return r.timeCalls(perCall, goroutines, func(messages []*message.Message) error {
			return publisher.Publish(topic, messages...)
		})
	}
}

// adding measures the limit for publishing.
func adding(perCall int) measurement {
	return func(r *run) []float64 {
		client := r.client()
		return r.timeCalls(perCall, 1, func(messages []*message.Message) error {
			return addAll(client, messages)
		})
	}
}

// timeCalls makes calls for the span. Messages are built before. The first calls of each goroutine
// are not counted, because they dial connections.
func (r *run) timeCalls(perCall, goroutines int, call func([]*message.Message) error) []float64 {
	const uncounted = 20
	messages := newMessages(perCall)
	check(parallel(goroutines, func(int) error {
		for range uncounted {
			if err := call(messages); err != nil {
				return err
			}
		}
		return nil
	}))

	times := make([][]time.Duration, goroutines)
	began := time.Now()
	check(parallel(goroutines, func(i int) error {
		for last := began; last.Sub(began) < r.span; {
			if err := call(messages); err != nil {
				return err
			}
			now := time.Now()
			times[i] = append(times[i], now.Sub(last))
			last = now
		}
		return nil
	}))
	elapsed := time.Since(began)
	all := slices.Concat(times...)
	return []float64{float64(len(all)*perCall) / elapsed.Seconds(), percentile(all, 50)}
}

func newMessages(n int) []*message.Message {
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage("uuid", make([]byte, payloadSize))
	}
	return messages
}
