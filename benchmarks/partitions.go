package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const masters = 3

// partitionCounts are compared with the first one. 0 is a topic without partitions.
var partitionCounts = []int{1, 0, 3, 6, 12}

// partitionLoad is a way to use a topic. Each round begins with empty streams.
type partitionLoad struct {
	name             string
	callers, perCall int
	keyed            bool
	messages         int
	consume          bool // measures a subscription on what the callers have published
	polling          bool // with the busy-polling client of Connect
}

var partitionLoads = []partitionLoad{
	{"Publish of 1, 64 goroutines", 64, 1, true, 12_800, false, false},
	{"Publish of 1, 64 goroutines, busy-polling", 64, 1, true, 12_800, false, true},
	{"Publish of 1, 64 goroutines, no keys", 64, 1, false, 12_800, false, false},
	{"Publish of 1, 1,024 goroutines", 1024, 1, true, 102_400, false, false},
	{"Publish of 100, 1 goroutine", 1, 100, true, 12_000, false, false},
	{"Publish of 100, 1 goroutine, no keys", 1, 100, false, 12_000, false, false},
	{"Publish of 100, 8 goroutines", 8, 100, true, 24_000, false, false},
	{"Publish of 100, 8 goroutines, no keys", 8, 100, false, 24_000, false, false},
	{"Publish of 100, 64 goroutines", 64, 100, true, 96_000, false, false},
	{"Publish of 1,000, 8 goroutines", 8, 1000, true, 96_000, false, false},
	{"Publish of 1,000, 1 goroutine", 1, 1000, true, 48_000, false, false},
	{"1 subscription on a backlog", 8, 100, true, 30_000, true, false},
}

// effort is what some messages cost.
type effort struct {
	messages float64
	elapsed  time.Duration
	client   time.Duration // CPU time of this process
	servers  [masters]time.Duration
}

func (e effort) server() (sum time.Duration) {
	for _, d := range e.servers {
		sum += d
	}
	return sum
}

// partitionBench is a cluster of three masters with a replica each.
type partitionBench struct {
	outside redistest.Outside
	cluster *redistest.Cluster
	nodes   [masters]*redis.Client
	parking redis.UniversalClient // go-redis's defaults
	polling redis.UniversalClient // of Connect
	keyed   []*message.Message
}

// benchPartitions writes a table to w, and the page to the file out.
func benchPartitions(w io.Writer, rounds int, out string) (err error) {
	defer catch(&err)
	b := &partitionBench{}
	defer b.outside.Close()
	check(b.outside.Try(func(tb testing.TB) { tb.Helper(); b.cluster = redistest.StartFullCluster(tb) }))
	for i := range b.nodes {
		b.nodes[i] = redis.NewClient(&redis.Options{Addr: b.cluster.Nodes[i].Addr})
		defer b.nodes[i].Close()
	}
	b.polling, err = redisstream.Connect(context.Background(), b.cluster.URL())
	check(err)
	defer b.polling.Close()
	check(b.outside.Try(func(tb testing.TB) { tb.Helper(); b.parking = b.cluster.Client(tb) }))
	b.keyed = newMessages(12_000) // so many keys that each third of the partitions has a third of them
	for i, msg := range b.keyed {
		msg.UUID = fmt.Sprint("customer-", i)
	}
	machine, err := describe(&redisBroker{client: b.nodes[0]})
	check(err)
	var page strings.Builder
	fmt.Fprintf(&page, partitionsHead, time.Now().Format(time.DateOnly), machine, rounds)
	for _, load := range partitionLoads {
		efforts := make([][]effort, len(partitionCounts))
		for round := range rounds + 1 {
			for turn := range partitionCounts {
				i := (turn + round) % len(partitionCounts)
				e := b.measure(load, partitionCounts[i], fmt.Sprint("bench", partitionCounts[i]))
				if round > 0 { // the first one dials
					efforts[i] = append(efforts[i], e)
				}
			}
		}
		table := fmt.Sprintf("\n## %s\n\n%s", load.name, partitionsTable(efforts))
		page.WriteString(table)
		_, err := io.WriteString(w, table)
		check(err)
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(page.String()), 0o600)
}

const partitionsHead = `# One topic, several partitions

Written by ` + "`go run . -partitions`" + ` on %s: %s.

One topic in a cluster of three masters with a replica each, all on this machine, with an append-only file each. Medians of
%d interleaved rounds. Payloads have 256 bytes. With keys there are 12,000 of them. "none" is a topic without partitions.
The servers share one core, and this process has another (` + "`make bench-partitions`" + `).
The client has go-redis's defaults. "busy-polling" has that of Connect: its readers poll before they park, which the CPU time of the client includes.

- **messages/s**: more partitions can't make it faster here, because all servers have the same core.
- **client**: CPU time of the publishing or consuming process for a message. **servers**: that of the three masters together (INFO cpu).
- **share of each master**: of the CPU time of the three, over all rounds. 33 %% is even.
- A ratio is the median of the rounds' own ratios to 1 partition.
`

func partitionsTable(efforts [][]effort) string {
	lines := make([][]string, 0, 1+len(partitionCounts))
	lines = append(lines, []string{"partitions", "messages/s", "ratio", "client", "ratio", "servers", "ratio", "share of each master"})
	for i, partitions := range partitionCounts {
		figures := func(of func(effort) float64) (string, string) {
			var own, ratios []float64
			for round, e := range efforts[i] {
				own = append(own, of(e))
				ratios = append(ratios, of(e)/of(efforts[0][round]))
			}
			return perSecond.write(median(own)), fmt.Sprintf("%.2f", median(ratios))
		}
		cells := make([]string, 1, 8)
		cells[0] = strconv.Itoa(partitions)
		if partitions == 0 {
			cells[0] = "none"
		}
		rate, ratio := figures(func(e effort) float64 { return e.messages / e.elapsed.Seconds() })
		cells = append(cells, rate, ratio)
		for _, of := range []func(effort) float64{
			func(e effort) float64 { return float64(e.client.Nanoseconds()) / e.messages },
			func(e effort) float64 { return float64(e.server().Nanoseconds()) / e.messages },
		} {
			cost, ratio := figures(of)
			cells = append(cells, strings.TrimSuffix(cost, perSecond.String())+" ns", ratio)
		}
		lines = append(lines, append(cells, shares(efforts[i])))
	}
	return aligned(lines)
}

// shares returns the percentage that each master has of their work.
func shares(efforts []effort) string {
	var each [masters]float64
	var sum float64
	for _, e := range efforts {
		for i, d := range e.servers {
			each[i] += d.Seconds()
			sum += d.Seconds()
		}
	}
	words := make([]string, masters)
	for i := range each {
		words[i] = fmt.Sprint(math.Round(1000*each[i]/sum)/10, " %")
	}
	return strings.Join(words, ", ")
}

// measure does a load on a topic of its own, which it deletes.
func (b *partitionBench) measure(load partitionLoad, partitions int, topic string) (e effort) {
	client := b.parking
	if load.polling {
		client = b.polling
	}
	config := redisstream.PublisherConfig{Client: client, Partitions: partitions}
	if load.keyed && partitions > 0 {
		config.PartitionKey = func(msg *message.Message) string { return msg.UUID }
	}
	publisher, err := redisstream.NewPublisher(config, nil)
	check(err)
	defer func() { check(publisher.Close()) }()
	streams := []string{topic}
	if partitions > 0 {
		streams = redisstream.PartitionTopics(topic, partitions)
	}
	defer func() {
		for _, name := range append(streams, topic) {
			check(client.Unlink(context.Background(), name).Err())
		}
	}()
	check(publisher.Publish(topic, b.keyed[:masters*load.perCall]...)) // asks for the number of partitions
	publish := func() { b.publish(publisher, topic, load) }
	if !load.consume {
		return b.during(float64(load.messages), publish)
	}
	publish()
	return b.consume(topic, streams, partitions, load.messages)
}

func (b *partitionBench) publish(publisher message.Publisher, topic string, load partitionLoad) {
	var next atomic.Int64
	check(parallel(load.callers, func(int) error {
		for {
			first := int(next.Add(int64(load.perCall))) - load.perCall
			if first >= load.messages {
				return nil
			}
			first %= len(b.keyed)
			if err := publisher.Publish(topic, b.keyed[first:first+load.perCall]...); err != nil {
				return err
			}
		}
	}))
}

// consume measures a subscription from a tenth of its backlog to nine tenths: the start, and the end when only
// some partitions have messages, are left out.
func (b *partitionBench) consume(topic string, streams []string, partitions, backlog int) effort {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: b.parking, ConsumerGroup: group, Partitions: partitions}, nil)
	check(err)
	defer func() { check(subscriber.Close()) }()
	messages, err := subscriber.Subscribe(context.Background(), topic)
	check(err)
	if partitions > 0 {
		waitFor("the owners of all partitions", func() bool {
			return !slices.ContainsFunc(streams, func(name string) bool {
				return b.parking.HGet(context.Background(), redisstream.OwnerKey(name, group), "consumer").Val() == ""
			})
		})
	}
	ack := func(n int) {
		for range n {
			select {
			case msg := <-messages:
				msg.Ack()
			case <-time.After(20 * time.Second):
				check(fmt.Errorf("no message of %s for 20 s", topic)) //nolint:err113 // for a reader
			}
		}
	}
	ack(backlog / 10)
	return b.during(float64(backlog*8/10), func() { ack(backlog * 8 / 10) })
}

// during returns what a function costs that handles some messages.
func (b *partitionBench) during(messages float64, do func()) effort {
	e := effort{messages: messages}
	servers, client, began := b.serverTimes(), cpuTime(), time.Now()
	do()
	e.elapsed, e.client = time.Since(began), cpuTime()-client
	for i, d := range b.serverTimes() {
		e.servers[i] = d - servers[i]
	}
	return e
}

// serverTimes returns the CPU time that each master has used.
func (b *partitionBench) serverTimes() (times [masters]time.Duration) {
	for i, node := range b.nodes {
		reply := node.Info(context.Background(), "cpu")
		for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
			seconds, err := infoNumber(reply, field)
			check(err)
			times[i] += time.Duration(seconds * float64(time.Second))
		}
	}
	return times
}
