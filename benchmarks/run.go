package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const (
	topic = "bench"
	group = "bench"
)

// run is one measurement on an empty server. What it opens is closed at its end, after the
// measurement.
type run struct {
	scale
	broker   broker
	addr     string // for the contestants: the broker's, or that of a proxy in front of it
	closers  []func()
	handlers sync.WaitGroup
}

// measure does one measurement. The contestant is the delay away from the broker.
func measure(b broker, delay time.Duration, s scale, m measurement) (figures []float64, err error) {
	r := &run{scale: s, broker: b, addr: b.address()}
	defer func() { err = errors.Join(err, r.end()) }()
	defer catch(&err)
	check(b.empty())
	if delay > 0 {
		proxy, err := redistest.LaunchProxy(r.addr, delay)
		check(err)
		r.atEnd(proxy.Close)
		r.addr = proxy.Addr
	}
	runtime.GC()
	return m(r), nil
}

// failure is the panic of check.
type failure struct{ error }

// check ends a measurement that failed. Call it only in the goroutine of the measurement.
func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// catch recovers from the panic of check and sets the error.
func catch(err *error) {
	switch f := recover().(type) {
	case nil:
	case failure:
		*err = f.error
	default:
		panic(f)
	}
}

// atEnd registers f for the end of the measurement. Functions run in reverse order.
func (r *run) atEnd(f func()) { r.closers = append(r.closers, f) }

func (r *run) end() (err error) {
	defer catch(&err)
	for _, f := range slices.Backward(r.closers) {
		f()
	}
	r.handlers.Wait()
	return nil
}

// client opens a client of go-redis.
func (r *run) client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: r.addr})
	r.atEnd(func() { _ = client.Close() })
	return client
}

// redis returns the broker of works that only libraries on Redis do.
func (r *run) redis() *redisBroker {
	b, ok := r.broker.(*redisBroker)
	if !ok {
		check(fmt.Errorf("%T is not Redis", r.broker))
	}
	return b
}

// publisher returns a publisher with its own connections.
func (r *run) publisher(lib library) message.Publisher {
	publisher, err := lib.openPublisher(r)
	check(err)
	r.atEnd(func() { check(publisher.Close()) })
	return publisher
}

// subscriber returns a subscriber with its own connections.
func (r *run) subscriber(lib library, s settings) message.Subscriber {
	subscriber, err := lib.openSubscriber(r, s)
	check(err)
	r.atEnd(func() { check(subscriber.Close()) })
	return subscriber
}

// consume handles and acks the messages of a new subscription, one at a time.
func (r *run) consume(subscriber message.Subscriber, handle func(*message.Message)) {
	messages, err := subscriber.Subscribe(context.Background(), topic)
	check(err)
	r.handlers.Go(func() {
		for msg := range messages {
			handle(msg)
			msg.Ack()
		}
	})
}

// fill publishes n messages.
func (r *run) fill(n int, payload []byte) { check(r.broker.fill(n, payload)) }

// acked returns how many messages the group has acknowledged.
func (r *run) acked() int64 {
	n, err := r.broker.acked()
	check(err)
	return n
}

// progress returns Redis's state of the group.
func (r *run) progress() progress {
	p, err := r.redis().progress()
	check(err)
	return p
}

// until waits for a condition, and reports whether it was met in time.
func until(patience time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// waitFor waits for a condition that the measurement needs.
func waitFor(what string, condition func() bool) {
	const patience = 20 * time.Second
	if !until(patience, condition) {
		check(fmt.Errorf("waited %s for %s", patience, what))
	}
}
