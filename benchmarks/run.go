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
	addr     string        // address for the contestants
	admin    *redis.Client // directly to the server, for commands that are not measured
	closers  []func()
	handlers sync.WaitGroup
}

// measure does one measurement.
func measure(addr string, delay time.Duration, s scale, m measurement) (figures []float64, err error) {
	r := &run{scale: s, addr: addr}
	defer func() { err = errors.Join(err, r.end()) }()
	defer catch(&err)
	r.admin = r.client()
	check(r.admin.FlushAll(context.Background()).Err())
	if delay > 0 {
		proxy, err := redistest.LaunchProxy(addr, delay)
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

// clientOf opens a client as the library's README does; poolSize 0: go-redis's default.
func (r *run) clientOf(lib library, poolSize int) redis.UniversalClient {
	client, err := lib.connect(r.addr, poolSize)
	check(err)
	r.atEnd(func() { _ = client.Close() }) // the peer has closed its own
	check(client.Ping(context.Background()).Err())
	return client
}

// publisher returns a publisher with its own client.
func (r *run) publisher(lib library) message.Publisher {
	publisher, err := lib.publisher(r.clientOf(lib, 0))
	check(err)
	r.atEnd(func() { check(publisher.Close()) })
	return publisher
}

// subscriber returns a subscriber with its own client.
func (r *run) subscriber(lib library, s settings) message.Subscriber {
	subscriber, err := lib.subscriber(r.clientOf(lib, s.poolSize), s)
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

// fill adds n entries to the stream.
func (r *run) fill(n int, payload []byte) {
	perPipeline := min(n, max(1, 1<<20/len(payload)), 1000)
	for added := 0; added < n; {
		pipeline := r.admin.Pipeline()
		for ; pipeline.Len() < perPipeline && added < n; added++ {
			pipeline.XAdd(context.Background(), &redis.XAddArgs{Stream: topic, Values: fields("uuid", payload)})
		}
		_, err := pipeline.Exec(context.Background())
		check(err)
	}
}

// progress is the server's state of the group.
type progress struct{ read, pending, acked int64 }

func (r *run) progress() progress {
	groups, err := r.admin.XInfoGroups(context.Background(), topic).Result()
	check(err)
	for _, g := range groups {
		if g.Name == group {
			return progress{read: g.EntriesRead, pending: g.Pending, acked: g.EntriesRead - g.Pending}
		}
	}
	check(fmt.Errorf("no group %q", group))
	return progress{}
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
