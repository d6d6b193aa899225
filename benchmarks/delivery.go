package main

import (
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// delivering counts the messages that never come, and deliveries that come again, while 16
// goroutines publish and a subscription handles.
func delivering(lib library) measurement {
	const goroutines = 16
	return func(r *run) []float64 {
		var mu sync.Mutex
		deliveries, all := make(map[string]int), 0
		r.consume(r.subscriber(lib, settings{}), func(msg *message.Message) {
			mu.Lock()
			defer mu.Unlock()
			deliveries[msg.UUID]++
			all++
		})
		publisher := r.publisher(lib)
		check(parallel(goroutines, func(i int) error {
			for n := i; n < r.counted; n += goroutines {
				if err := publisher.Publish(topic, message.NewMessage(strconv.Itoa(n), make([]byte, payloadSize))); err != nil {
					return err
				}
			}
			return nil
		}))
		until(20*time.Second, func() bool { return r.acked() == int64(r.counted) }) // else some are lost
		mu.Lock()
		defer mu.Unlock()
		return []float64{float64(r.counted - len(deliveries)), float64(all - len(deliveries))}
	}
}
