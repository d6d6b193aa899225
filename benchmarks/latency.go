package main

import (
	"encoding/binary"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func latencyWorks() []work {
	return []work{{
		rows: []row{
			{"end-to-end latency at 500 messages/s, p50", duration, []want{{peer, 1}}},
			{"end-to-end latency at 500 messages/s, p99", duration, []want{{peer, 1}}},
		},
		by: entrants{ours: latency(ourLibrary), peer: latency(peerLibrary)},
	}}
}

// latency measures the time from the call of Publish to the handler. Each message carries the time
// when it was sent.
func latency(lib library) measurement {
	const (
		interval = 2 * time.Millisecond
		warmUp   = 50 // first messages, whose latency is ignored
	)
	return func(r *run) []float64 {
		publisher := r.publisher(lib)
		messages := newMessages(warmUp + int(r.latencySpan/interval))
		began := time.Now()
		latencies := make(chan time.Duration, len(messages))
		r.consume(r.subscriber(lib, settings{}), func(msg *message.Message) {
			sent, _ := binary.Varint(msg.Payload)
			latencies <- time.Since(began) - time.Duration(sent)
		})
		next := time.Now()
		for _, msg := range messages {
			next = next.Add(interval)
			time.Sleep(time.Until(next))
			binary.PutVarint(msg.Payload, int64(time.Since(began)))
			check(publisher.Publish(topic, msg))
		}
		waitFor("all messages", func() bool { return len(latencies) == len(messages) })
		counted := make([]time.Duration, 0, len(messages))
		for range messages {
			counted = append(counted, <-latencies)
		}
		counted = counted[warmUp:]
		return []float64{percentile(counted, 50), percentile(counted, 99)}
	}
}
