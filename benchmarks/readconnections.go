package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// readConnections are compared: how many connections 100 subscriptions share; 0: each has its own.
var readConnections = []int{0, 2, 4, 10}

const (
	handlers     = 100 // subscriptions, each to a topic of its own
	sharedPool   = 10  // PoolSize of the client
	drainedEach  = 1000
	latencyLasts = 1500 * time.Millisecond
)

// readConnectionsWorks are the rows of the page.
var readConnectionsWorks = []struct {
	name   string
	units  []unit
	do     func(n int) measurement
	delays []time.Duration // of the link, in each direction
}{
	{"connections of the process", []unit{count}, connectionsOf, []time.Duration{0}},
	{"no load: 100 messages/s", []unit{duration, duration, duration, duration}, latencyOver(100), []time.Duration{0, time.Millisecond}},
	{"moderate load: 1,000 messages/s", []unit{duration, duration, duration, duration}, latencyOver(1000), []time.Duration{0, time.Millisecond}},
	{"high load: 4,000 messages/s", []unit{duration, duration, duration, duration}, latencyOver(4000), []time.Duration{0}},
	{"full load: a backlog of 100,000", []unit{perSecond, duration, duration}, drainAll, []time.Duration{0, time.Millisecond}},
}

// benchReadConnections writes a table to w and the page to the file out.
func benchReadConnections(w io.Writer, rounds int, out string) error {
	server, err := launchRedis("--appendonly", "no")
	if err != nil {
		return err
	}
	defer server.stop()
	stopOnSignal(server)
	machine, err := describe(server)
	if err != nil {
		return err
	}
	var page strings.Builder
	fmt.Fprintf(&page, `# Read connections

Written by `+"`go run . -readconnections`"+` on %s: %s.

%d subscriptions of one Subscriber, each to a topic of its own, on one client with a pool of %d connections. A column is
`+"`SubscriberConfig.ReadConnections`"+`. Medians of %d interleaved rounds. Messages are published one by one to the topics in turn,
by another client.

- With a load: the time from the call of Publish to the handler, p50 / p99 / CPU time of the server / CPU time of this process, the
  publisher and a link of 1 ms included; the last two for each message.
- With a backlog: messages handled / both CPU times.

| work | own | 2 | 4 | 10 |
| --- | --- | --- | --- | --- |
`, time.Now().Format(time.DateOnly), machine, handlers, sharedPool, rounds)
	for _, work := range readConnectionsWorks {
		for _, delay := range work.delays {
			figures := make([][][]float64, len(readConnections))
			for range rounds {
				for i, n := range readConnections {
					all, err := measure(server, delay, full, work.do(n))
					if err != nil {
						return fmt.Errorf("%s: %w", work.name, err)
					}
					figures[i] = append(figures[i], all)
				}
			}
			page.WriteString("| " + work.name)
			if delay > 0 {
				fmt.Fprintf(&page, ", %s away", delay)
			}
			for i := range readConnections {
				page.WriteString(" | " + medians(figures[i], work.units))
			}
			page.WriteString(" |\n")
		}
	}
	_, err = io.WriteString(w, page.String())
	return errors.Join(err, os.WriteFile(out, []byte(page.String()), 0o600))
}

// medians writes the median of each figure.
func medians(rounds [][]float64, units []unit) string {
	texts := make([]string, len(units))
	for i, unit := range units {
		all := make([]float64, 0, len(rounds))
		for _, figures := range rounds {
			all = append(all, figures[i])
		}
		texts[i] = unit.write(median(all))
	}
	return strings.Join(texts, " / ")
}

func topicOf(handler int) string { return fmt.Sprintf("topic-%d", handler) }

// subscribeAll subscribes to all topics. The handlers ack.
func subscribeAll(r *run, n int, handle func(*message.Message)) {
	client := redis.NewClient(&redis.Options{Addr: r.addr, PoolSize: sharedPool, PipelinePoolSize: -1, ClientName: "subscriber"})
	r.atEnd(func() { _ = client.Close() })
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: group, ReadConnections: n,
	}, nil)
	check(err)
	r.atEnd(func() { check(subscriber.Close()) })
	for i := range handlers {
		messages, err := subscriber.Subscribe(context.Background(), topicOf(i))
		check(err)
		r.handlers.Go(func() {
			for msg := range messages {
				handle(msg)
				msg.Ack()
			}
		})
	}
}

// serverCPU returns the CPU time that the server has used, in seconds.
func serverCPU(r *run) (seconds float64) {
	info, err := r.redis().client.Info(context.Background(), "cpu").Result()
	check(err)
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		used, err := strconv.ParseFloat(infoField(info, name), 64)
		check(err)
		seconds += used
	}
	return seconds
}

func connectionsOf(n int) measurement {
	return func(r *run) []float64 {
		latencyOver(2000)(n)(r)
		list, err := r.redis().client.ClientList(context.Background()).Result()
		check(err)
		return []float64{float64(strings.Count(list, " name=subscriber "))}
	}
}

// latencyOver measures the time from the call of Publish to the handler.
func latencyOver(rate int) func(n int) measurement {
	return func(n int) measurement {
		return func(r *run) []float64 {
			const warmUp = handlers // first messages, whose latency is ignored
			began := time.Now()
			messages := newMessages(warmUp + int(latencyLasts.Seconds()*float64(rate)))
			latencies := make(chan time.Duration, len(messages))
			subscribeAll(r, n, func(msg *message.Message) {
				sent, _ := binary.Varint(msg.Payload)
				latencies <- time.Since(began) - time.Duration(sent)
			})
			publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: r.client()}, nil)
			check(err)
			r.atEnd(func() { check(publisher.Close()) })
			used, own := serverCPU(r), cpuTime()
			next := time.Now()
			var publishing sync.WaitGroup
			failures := make(chan error, len(messages))
			for i, msg := range messages {
				next = next.Add(time.Second / time.Duration(rate))
				time.Sleep(time.Until(next))
				binary.PutVarint(msg.Payload, int64(time.Since(began)))
				publishing.Go(func() {
					if err := publisher.Publish(topicOf(i%handlers), msg); err != nil {
						failures <- err
					}
				})
			}
			publishing.Wait()
			if len(failures) > 0 {
				check(<-failures)
			}
			waitFor("all messages", func() bool { return len(latencies) == len(messages) })
			used = serverCPU(r) - used
			own = cpuTime() - own
			counted := make([]time.Duration, 0, len(messages))
			for range messages {
				counted = append(counted, <-latencies)
			}
			counted = counted[warmUp:]
			return []float64{percentile(counted, 50), percentile(counted, 99), used / float64(len(messages)), own.Seconds() / float64(len(messages))}
		}
	}
}

// drainAll measures how fast a backlog in all topics is handled.
func drainAll(n int) measurement {
	return func(r *run) []float64 {
		ctx := context.Background()
		payload := make([]byte, payloadSize)
		for i := range handlers {
			pipeline := r.redis().client.Pipeline()
			for range drainedEach {
				pipeline.XAdd(ctx, &redis.XAddArgs{Stream: topicOf(i), Values: fields("uuid", payload)})
			}
			_, err := pipeline.Exec(ctx)
			check(err)
		}
		handled := make(chan struct{}, handlers*drainedEach)
		used, own, began := serverCPU(r), cpuTime(), time.Now()
		subscribeAll(r, n, func(*message.Message) { handled <- struct{}{} })
		waitFor("all messages", func() bool { return len(handled) == cap(handled) })
		all := float64(cap(handled))
		return []float64{all / time.Since(began).Seconds(), (serverCPU(r) - used) / all, (cpuTime() - own).Seconds() / all}
	}
}
