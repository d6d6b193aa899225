package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const (
	memberProcesses = 4
	memberLease     = 2 * time.Second // ClaimMinIdle
	memberKeys      = 40              // of the topic with partitions; the other one has a quarter
	memberEvery     = 80 * time.Millisecond
	memberDrain     = 60 * time.Second
	stalled         = 200 * time.Millisecond
)

// memberRun is a run with partitions. It has no proxies, and no servers of a run.
type memberRun struct {
	*run

	outside redistest.Outside
	nodes   []*redistest.Server
	full    *redistest.Cluster // nil: there is one server
	random  *rand.Rand         // of the faults
	made    map[string]int     // faults

	published []memberMessage // guarded by mu, as uncertain
	uncertain int
}

// membersRun makes a run and reports whether the checker found nothing.
func membersRun(ctx context.Context, o options) (ok bool, err error) {
	r := &memberRun{
		run:    &run{options: o, out: os.Stdout, began: time.Now()},
		random: rand.New(rand.NewPCG(o.seed, 3)), made: map[string]int{},
	}
	fmt.Fprintf(r.out, "seed %d, %s, %d partitions, %d members, cluster: %t\n", o.seed, o.duration, memberPartitions, memberProcesses, o.cluster)
	defer func() { r.cleanUp(!ok) }()
	defer r.close()
	if err := r.open(); err != nil {
		return false, err
	}
	watching, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	for _, server := range r.nodes {
		r.watch.Go(func() { r.watchNode(watching, server.Addr) })
	}
	r.execute(ctx)
	r.drain(ctx)
	stopWatch()
	r.watch.Wait()
	for _, w := range r.workers {
		w.retire()
		_ = w.terminate() // a failure is recorded in its life
	}
	h, err := r.history(ctx)
	if err != nil {
		return false, err
	}
	v := h.check()
	v.failures = append(v.failures, r.failures...)
	v.checkGapsFound()
	r.report(h, v)
	fmt.Fprintf(r.out, "%s, seed %d, %s\n", v.result(), o.seed, time.Since(r.began).Round(time.Second))
	return v.result() == "PASS", nil
}

// open starts the servers and the members.
func (r *memberRun) open() error {
	err := r.outside.Try(func(tb testing.TB) {
		tb.Helper()
		if r.cluster {
			r.full = redistest.StartFullCluster(tb)
			r.nodes = r.full.Nodes
			return
		}
		r.nodes = []*redistest.Server{redistest.Start(tb, redistest.Durable...)}
	})
	if err != nil {
		return err
	}
	link := connection{ReadTimeout: time.Second}
	for _, server := range r.nodes {
		link.Addrs = append(link.Addrs, server.Addr)
	}
	r.client = link.client()
	for i := range memberProcesses {
		w := &worker{name: fmt.Sprintf("m%d", i), dir: r.dir}
		w.config = workerConfig{Connection: link, ClaimMinIdle: memberLease, CloseTimeout: closeTimeout, Member: true}
		r.workers = append(r.workers, w)
		if err := w.start(); err != nil {
			return err
		}
	}
	return nil
}

// watchNode records when a server did not answer at once. On a busy machine its disk may hold it up.
func (r *memberRun) watchNode(ctx context.Context, addr string) {
	client := connection{Addrs: []string{addr}, ReadTimeout: time.Second, Impatient: true}.client()
	defer client.Close()
	for last := time.Now(); wait(ctx, pulse); {
		if client.Ping(ctx).Err() != nil {
			continue
		}
		if now := time.Now(); now.Sub(last) > stalled {
			r.note(func() { r.troubles = append(r.troubles, span{last.UnixNano(), now.UnixNano()}) })
		}
		last = time.Now()
	}
}

func (r *memberRun) close() {
	for _, w := range r.workers {
		w.retire()
		w.resume()
		w.kill()
	}
	if r.client != nil {
		_ = r.client.Close()
	}
	r.outside.Close()
}

// execute publishes and makes faults for the duration.
func (r *memberRun) execute(ctx context.Context) {
	quiet, stop := context.WithTimeout(ctx, r.duration)
	defer stop()
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() { r.publish(quiet, ctx, i, sharedTopic) })
	}
	all.Go(func() { r.publish(quiet, ctx, 0, wholeTopic) })
	r.play(quiet)
	all.Wait()
	for _, w := range r.workers {
		r.start(w)
	}
}

// memberMessage is a message that a publisher published.
type memberMessage struct {
	topic, key string
	number     int // in its key, from 1
	tried      int64
	doneAt     int64 // when Publish returned nil
}

func numberOf(id string) int {
	n, _ := strconv.Atoi(id)
	return n
}

// publish publishes messages of the keys of one publisher. The next ones follow when the last ones are
// published, so messages of a key are in order.
func (r *memberRun) publish(quiet, ctx context.Context, number int, topic string) {
	client := r.workers[0].config.Connection.client()
	defer client.Close()
	config := redisstream.PublisherConfig{Client: client}
	if topic == sharedTopic {
		config.Partitions, config.PartitionKey = memberPartitions, orderingKeyOf
	}
	if r.cluster { // otherwise a failover may lose messages
		config.WaitReplicas = 1
	}
	publisher, err := redisstream.NewPublisher(config, nil)
	if err != nil {
		panic(err)
	}
	random := rand.New(rand.NewPCG(r.seed, uint64(10+number)))
	last := map[string]int{}
	for wait(quiet, memberEvery) {
		var batch []memberMessage
		var messages []*message.Message
		for _, k := range random.Perm(memberKeys / publishers)[:1+random.IntN(4)] {
			key := fmt.Sprintf("%d-%d", number, k)
			last[key]++
			m := memberMessage{topic: topic, key: key, number: last[key], tried: time.Now().UnixNano()}
			msg := message.NewMessage(watermill.NewUUID(), nil)
			msg.Metadata.Set(memberKey, key)
			msg.Metadata.Set(memberNumber, strconv.Itoa(m.number))
			if k == 0 && m.number%7 == 0 {
				msg.Metadata.Set(memberPoison, "yes")
			}
			batch, messages = append(batch, m), append(messages, msg)
		}
		for err := publisher.Publish(topic, messages...); err != nil; err = publisher.Publish(topic, messages...) {
			if messages = r.unpublished(err); len(messages) == 0 || !wait(ctx, 20*time.Millisecond) {
				break
			}
		}
		for i := range batch {
			batch[i].doneAt = time.Now().UnixNano()
		}
		r.mu.Lock()
		r.published = append(r.published, batch...)
		r.mu.Unlock()
	}
}

// unpublished returns the messages of a failed call that have to be published again.
func (r *memberRun) unpublished(err error) []*message.Message {
	failure := err.(*redisstream.PublishError) //nolint:errorlint,forcetypeassert // each error of Publish is one
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uncertain += len(failure.Uncertain)
	return append(slices.Clone(failure.Failed), failure.Uncertain...)
}

// drain waits until every group has handled every entry.
func (r *memberRun) drain(ctx context.Context) {
	for began := time.Now(); ; {
		left := r.undrained(ctx)
		if left == "" {
			fmt.Fprintf(r.out, "drained in %s\n", time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > memberDrain || !wait(ctx, 50*time.Millisecond) {
			r.fail(fmt.Sprintf("not drained after %s: %s", memberDrain, left))
			return
		}
	}
}

// undrained describes what is not handled yet; empty: nothing.
func (r *memberRun) undrained(ctx context.Context) string {
	var left []string
	for _, g := range memberGroups {
		for _, name := range g.streams() {
			groups, err := r.client.XInfoGroups(ctx, name).Result()
			i := slices.IndexFunc(groups, func(info redis.XInfoGroup) bool { return info.Name == g.name })
			if err != nil || i < 0 {
				left = append(left, fmt.Sprintf("%s in %s: no group, %v", g.name, name, err))
				continue
			}
			end := r.client.XRevRangeN(ctx, name, "+", "-", 1).Val()
			if groups[i].Pending > 0 || len(end) > 0 && groups[i].LastDeliveredID != end[0].ID {
				left = append(left, fmt.Sprintf("%s in %s: %d pending, read up to %s", g.name, name, groups[i].Pending, groups[i].LastDeliveredID))
			}
		}
	}
	return strings.Join(left, "; ")
}

// history collects what the checker judges.
func (r *memberRun) history(ctx context.Context) (*memberHistory, error) {
	h := &memberHistory{
		lease: memberLease, published: r.published, troubles: r.troubles, uncertain: r.uncertain > 0,
		dead: map[handlerKey]bool{}, committed: map[[2]string][]string{},
	}
	for _, w := range r.workers {
		for _, l := range w.lives {
			if l.failure != "" {
				r.fail(l.failure)
			}
			file, err := os.Open(l.journal)
			if os.IsNotExist(err) {
				continue // it was killed before it opened the journal
			}
			if err != nil {
				return nil, err
			}
			events, err := readMemberJournal(file)
			_ = file.Close()
			if err != nil {
				return nil, err
			}
			h.processes = append(h.processes, &memberProcess{name: l.name, killed: l.killed, events: events})
		}
	}
	for _, g := range memberGroups {
		if !h.logged(g) {
			r.fail("no member of the group " + g.name + " logged that it owns a stream: do the log lines have another text?")
		}
		for _, name := range g.streams() {
			list, err := r.client.LRange(ctx, committedKey(name, g.name), 0, -1).Result()
			if err != nil {
				return nil, err
			}
			h.committed[[2]string{g.name, name}] = list
			if err := r.readDeadLetters(ctx, h, g, name); err != nil {
				return nil, err
			}
		}
	}
	return h, nil
}

// readDeadLetters reads the dead letters of a group in a stream.
func (r *memberRun) readDeadLetters(ctx context.Context, h *memberHistory, g memberGroup, name string) error {
	return r.readAll(ctx, redisstream.DeadLetterTopic(name), func(m redis.XMessage) error {
		letter, err := deadLetterOf(m)
		if err != nil || letter.group != g.name {
			return err
		}
		msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(m.ID, m.Values)
		if err == nil {
			h.dead[handlerKey{g.name, orderingKeyOf(msg), numberOf(msg.Metadata.Get(memberNumber))}] = true
			h.letters = append(h.letters, memberDeadLetter{letter, name})
		}
		return err
	})
}

func (r *memberRun) report(h *memberHistory, v *memberVerdict) {
	fmt.Fprintf(r.out, "published %d messages, %d times uncertain; %d handlers ran, %d commits, %d dead letters, %d processes\n",
		len(h.published), r.uncertain, v.handled, v.commits, len(h.dead), len(h.processes))
	fmt.Fprintf(r.out, "%d generations, %d messages handled again after an ack, %d handlers of two owners at a time (at most %s)\n",
		v.generations, v.repeated, v.overlaps, v.longestOverlap.Round(time.Millisecond))
	for _, kind := range slices.Sorted(maps.Keys(r.made)) {
		fmt.Fprintf(r.out, "  %5d %s\n", r.made[kind], kind)
	}
	for _, kind := range gapKinds {
		fmt.Fprintf(r.out, "gap after %s: %s\n", kind, v.gapFigures(kind))
	}
	r.findings("LOST", v.lost)
	r.findings("OUT OF ORDER", v.disorder)
	r.findings("TWO OWNERS", v.twoOwners)
	r.findings("HANDLED AGAIN", v.again)
	r.findings("COMMITTED", v.committed)
	r.findings("DEAD LETTERS", v.letters)
	r.findings("GAPS", v.late)
	r.findings("FAILED", v.failures)
}
