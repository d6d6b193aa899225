package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// options are the options of a run.
type options struct {
	seed         uint64
	duration     time.Duration
	rate         int // messages per second
	workers      int
	groups       []group
	claimMinIdle time.Duration
	cluster      bool
	large        bool // some messages are large
	dir          string
	verbose      bool
}

const (
	publishers   = 4
	closeTimeout = 500 * time.Millisecond
	drainTimeout = 90 * time.Second
)

// allGroups has groups with strict order, with order by key and without order, a group with a
// delivery limit, one where keys fail for a while, and one with AutoAck. The one without order
// commits, and retries later.
var allGroups = []group{
	{Name: "strict", MaxInFlight: 1},
	{Name: "keyed", MaxInFlight: 8, Keyed: true},
	{Name: "loose", MaxInFlight: 4, Commits: true, Retries: true},
	{Name: "limited", MaxInFlight: 8, Keyed: true, MaxDeliveries: 5},
	{Name: "failing", MaxInFlight: 8, Keyed: true, FailingKeys: true},
	{Name: "once", MaxInFlight: 1, AutoAck: true},
}

const (
	// slowLink is the bandwidth of every second worker in bytes per second. slowTimeout is the
	// ReadTimeout of its clients.
	slowLink    = 6 << 20
	slowTimeout = 3 * time.Second
)

// run is one chaos run.
type run struct {
	options
	topic      string
	out        io.Writer
	servers    *servers
	client     redis.UniversalClient // directly to the servers
	networks   []*network            // one for each worker
	publishing *network
	workers    []*worker
	sources    []*source
	done       map[faultKind]int
	stopWatch  context.CancelFunc
	watch      sync.WaitGroup

	mu        sync.Mutex
	failures  []string
	troubles  []span // when the server did not answer
	jumps     []span // when its clock jumped forward
	destroyed map[string][]span
	paused    map[string][]groupPause
	pausing   map[string]chan struct{} // has one element while the group is paused
	storms    map[int][]span           // by worker
	cuts      map[int][]span           // by worker
	failing   []failingKey
	began     time.Time
}

// failingKey is a key whose messages fail during a span, in groups with FailingKeys, if they were
// published in the span.
type failingKey struct {
	span

	key string
}

// span is a period in Unix ns.
type span struct{ from, to int64 }

func (r *run) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// fail records an unexpected failure.
func (r *run) fail(text string) { r.note(func() { r.failures = append(r.failures, text) }) }

func (r *run) verbose(what any) {
	if r.options.verbose {
		fmt.Fprintln(r.out, what)
	}
}

// open starts the servers, the proxies and the workers.
func open(o options, out io.Writer) (r *run, err error) {
	r = &run{
		options: o, out: out, topic: "chaos", began: time.Now(),
		done: map[faultKind]int{}, destroyed: map[string][]span{}, paused: map[string][]groupPause{}, pausing: map[string]chan struct{}{},
		storms: map[int][]span{}, cuts: map[int][]span{},
	}
	watching, stop := context.WithCancel(context.Background())
	r.stopWatch = stop
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.servers, err = launchServers(o.cluster, r.topic); err != nil {
		return nil, err
	}
	r.client = connection{Addrs: r.servers.addrs(), ReadTimeout: 5 * time.Second, Impatient: true}.client()
	r.watch.Go(func() { r.watchServers(watching) })
	if r.publishing, err = lay(r.servers.all, 0); err != nil {
		return nil, err
	}
	for i := range o.workers {
		if err := r.addWorker(i); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *run) addWorker(i int) error {
	bandwidth, timeout := 0, time.Second
	if i%2 == 0 {
		bandwidth, timeout = slowLink, slowTimeout
	}
	links, err := lay(r.servers.all, bandwidth)
	if err != nil {
		return err
	}
	w := &worker{name: fmt.Sprintf("w%d", i), dir: r.dir}
	w.config = workerConfig{
		Connection: connection{Addrs: r.servers.addrs(), Via: links.via, ReadTimeout: timeout},
		Topic:      r.topic, Groups: r.groups, ClaimMinIdle: r.claimMinIdle, CloseTimeout: closeTimeout,
	}
	if i/2%2 == 1 {
		w.config.Consumer = w.name // the other workers have generated names
	}
	r.networks, r.workers = append(r.networks, links), append(r.workers, w)
	return w.start()
}

// close stops everything that runs.
func (r *run) close() {
	r.stopWatch()
	r.watch.Wait()
	for _, w := range r.workers {
		w.retire()
		w.kill()
	}
	for _, links := range r.networks {
		links.close()
	}
	if r.publishing != nil {
		r.publishing.close()
	}
	if r.client != nil {
		_ = r.client.Close()
	}
	if r.servers != nil {
		r.servers.close()
	}
}

// execute publishes and makes faults for the duration, then heals all.
func (r *run) execute(ctx context.Context) error {
	publishing, stopPublishing := context.WithTimeout(ctx, r.duration)
	defer stopPublishing()
	var all sync.WaitGroup
	defer all.Wait()
	for range publishers {
		if err := r.publish(publishing, ctx, &all); err != nil {
			return err
		}
	}
	for _, w := range r.workers {
		w.reviveFrom(ctx)
	}
	r.play(ctx, plan(r.options))
	all.Wait()
	for _, w := range r.workers {
		r.start(w)
	}
	r.verbose("all faults are healed")
	return nil
}

// publish starts another publisher. It ends when quiet has ended and its messages are published, or
// when ctx ends.
func (r *run) publish(quiet, ctx context.Context, all *sync.WaitGroup) error {
	client := connection{Addrs: r.servers.addrs(), Via: r.publishing.via, ReadTimeout: time.Second}.client()
	redisstream.EnableBusyPolling(client)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	s := newSource(r.seed, len(r.sources), r.topic, publishers*time.Second/time.Duration(r.rate), publisher)
	s.large, s.failing = r.large, r.failingNow
	r.sources = append(r.sources, s)
	all.Go(func() {
		defer client.Close()
		s.run(quiet, ctx)
	})
	return nil
}

// finish waits until the groups have drained, closes the workers, and returns the history.
func (r *run) finish(ctx context.Context) (*history, error) {
	if err := r.drain(ctx); err != nil {
		return nil, err
	}
	for _, w := range r.workers {
		w.retire()
		_ = w.terminate() // a failure is recorded in its life
	}
	return r.history(ctx)
}

// drain waits until every group has handled every entry of the stream.
func (r *run) drain(ctx context.Context) error {
	began := time.Now()
	for {
		left, err := r.undrained(ctx)
		if err == nil && left == "" {
			fmt.Fprintf(r.out, "drained in %s\n", time.Since(began).Round(time.Millisecond))
			return nil
		}
		if time.Since(began) > drainTimeout {
			r.fail(fmt.Sprintf("not drained after %s: %s %v", drainTimeout, left, err))
			return ctx.Err()
		}
		if !wait(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// undrained describes what is not handled yet; empty: nothing.
func (r *run) undrained(ctx context.Context) (left string, err error) {
	info, err := r.client.XInfoStream(ctx, r.topic).Result()
	if err != nil {
		return "", err
	}
	all, err := r.client.XInfoGroups(ctx, r.topic).Result()
	if err != nil {
		return "", err
	}
	var lines []string
	for _, wanted := range r.groups {
		i := slices.IndexFunc(all, func(g redis.XInfoGroup) bool { return g.Name == wanted.Name })
		switch {
		case i < 0:
			lines = append(lines, "group "+wanted.Name+" does not exist")
		case all[i].Pending > 0 || all[i].LastDeliveredID != info.LastGeneratedID:
			lines = append(lines, fmt.Sprintf("group %s: %d pending, read up to %s of %s%s",
				wanted.Name, all[i].Pending, all[i].LastDeliveredID, info.LastGeneratedID, r.oldestPending(ctx, wanted.Name)))
		}
		waiting, err := r.client.ZCard(ctx, redisstream.RetryQueueKey(r.topic, wanted.Name)).Result()
		if err != nil {
			return "", err
		}
		if waiting > 0 {
			lines = append(lines, fmt.Sprintf("group %s: %d in its retry queue", wanted.Name, waiting))
		}
	}
	return strings.Join(lines, "; "), nil
}

// oldestPending describes the oldest pending entries of a group.
func (r *run) oldestPending(ctx context.Context, name string) string {
	rows, _ := r.client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.topic, Group: name, Start: "-", End: "+", Count: 3}).Result()
	var text strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&text, ", %s of %s idle for %s, %d deliveries", row.ID, row.Consumer, row.Idle, row.RetryCount)
	}
	return text.String()
}

// randomSeed returns a seed for runs without one.
func randomSeed() uint64 { return rand.Uint64() }

// cleanUp removes the journals and logs of a run, unless they are needed to examine it.
func (r *run) cleanUp(failed bool) {
	if failed || r.options.verbose {
		fmt.Fprintf(r.out, "journals and logs: %s\n", r.dir)
		return
	}
	_ = os.RemoveAll(r.dir)
}
