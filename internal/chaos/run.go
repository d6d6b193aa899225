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
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// options of a run.
type options struct {
	seed         uint64
	duration     time.Duration
	rate         int // messages a second
	workers      int
	groups       []group
	claimMinIdle time.Duration
	dir          string
	verbose      bool
}

const (
	publishers   = 4
	closeTimeout = 500 * time.Millisecond
	drainTimeout = 90 * time.Second
)

// allGroups are in strict order, in order for each key, and in none.
var allGroups = []group{
	{Name: "strict", MaxInFlight: 1},
	{Name: "keyed", MaxInFlight: 8, Keyed: true},
	{Name: "loose", MaxInFlight: 4},
}

// run is one chaos run.
type run struct {
	options
	topic      string
	out        io.Writer
	server     *redistest.Server
	client     *redis.Client // straight to the server
	proxies    []*redistest.Proxy
	publishing *redistest.Proxy
	workers    []*worker
	sources    []*source
	done       map[faultKind]int
	stopWatch  context.CancelFunc
	watch      sync.WaitGroup

	mu        sync.Mutex
	failures  []string
	troubles  []span // of the server
	destroyed map[string][]span
	storms    map[int][]span // by worker
	began     time.Time
}

// span is a time from which until which something was so, in Unix ns.
type span struct{ from, to int64 }

func (r *run) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// fail notes what should not have happened.
func (r *run) fail(text string) { r.note(func() { r.failures = append(r.failures, text) }) }

func (r *run) verbose(what any) {
	if r.options.verbose {
		fmt.Fprintln(r.out, what)
	}
}

// open starts the server, the proxies and the workers.
func open(o options, out io.Writer) (r *run, err error) {
	r = &run{
		options: o, out: out, topic: "chaos", began: time.Now(),
		done: map[faultKind]int{}, destroyed: map[string][]span{}, storms: map[int][]span{},
	}
	watching, stop := context.WithCancel(context.Background())
	r.stopWatch = stop
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.server, err = redistest.Launch(redistest.Durable...); err != nil {
		return nil, err
	}
	r.client = redis.NewClient(&redis.Options{Addr: r.server.Addr, ReadTimeout: time.Second, MaxRetries: -1})
	r.watch.Go(func() { r.watchServer(watching) })
	if r.publishing, err = redistest.LaunchProxy(r.server.Addr, 0); err != nil {
		return nil, err
	}
	for i := range o.workers {
		proxy, err := redistest.LaunchProxy(r.server.Addr, 0)
		if err != nil {
			return nil, err
		}
		w := &worker{name: fmt.Sprintf("w%d", i), dir: o.dir}
		w.config = workerConfig{
			Addr: proxy.Addr, Topic: r.topic, Groups: r.groups, ClaimMinIdle: o.claimMinIdle, CloseTimeout: closeTimeout,
		}
		if i%2 == 1 {
			w.config.Consumer = w.name // the others' are generated
		}
		r.proxies, r.workers = append(r.proxies, proxy), append(r.workers, w)
		if err := w.start(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// close ends all that runs.
func (r *run) close() {
	r.stopWatch()
	r.watch.Wait()
	for _, w := range r.workers {
		w.kill()
	}
	for _, proxy := range r.proxies {
		proxy.Close()
	}
	if r.publishing != nil {
		r.publishing.Close()
	}
	if r.client != nil {
		_ = r.client.Close()
	}
	if r.server != nil {
		r.server.Remove()
	}
}

// execute publishes and lets things go wrong for the duration, and heals all.
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
	r.play(ctx, plan(r.seed, r.duration, r.claimMinIdle, r.options.workers, len(r.groups)))
	all.Wait()
	for _, w := range r.workers {
		r.start(w)
	}
	r.verbose("all is healed")
	return nil
}

// publish starts one more publisher. It ends when quiet is done and what it began is published, or with ctx.
func (r *run) publish(quiet, ctx context.Context, all *sync.WaitGroup) error {
	client := redis.NewClient(&redis.Options{Addr: r.publishing.Addr, ReadTimeout: time.Second, DialTimeout: time.Second})
	redisstream.StayAwake(client)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	s := newSource(r.seed, len(r.sources), r.topic, publishers*time.Second/time.Duration(r.rate), publisher)
	r.sources = append(r.sources, s)
	all.Go(func() {
		defer client.Close()
		s.run(quiet, ctx)
	})
	return nil
}

// finish lets the groups drain and closes the workers, and returns all that happened.
func (r *run) finish(ctx context.Context) (*history, error) {
	if err := r.drain(ctx); err != nil {
		return nil, err
	}
	for _, w := range r.workers {
		_ = w.terminate() // noted with its life
	}
	return r.history(ctx)
}

// drain waits until every group has handled all that is in the stream.
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

// undrained says what is left to do; empty: nothing.
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
			lines = append(lines, "group "+wanted.Name+" is not there")
		case all[i].Pending > 0 || all[i].LastDeliveredID != info.LastGeneratedID:
			lines = append(lines, fmt.Sprintf("group %s: %d pending, read up to %s of %s",
				wanted.Name, all[i].Pending, all[i].LastDeliveredID, info.LastGeneratedID))
		}
	}
	return strings.Join(lines, "; "), nil
}

// watchServer notes when the server, or this process, with its proxies, did not answer.
func (r *run) watchServer(ctx context.Context) {
	client := redis.NewClient(&redis.Options{
		Addr: r.server.Addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, ReadTimeout: time.Second,
	})
	defer client.Close()
	for last := time.Now(); wait(ctx, pulse); {
		if client.Ping(ctx).Err() != nil {
			continue
		}
		now := time.Now()
		if now.Sub(last) > longPause(r.claimMinIdle) {
			r.note(func() { r.troubles = append(r.troubles, span{last.UnixNano(), now.UnixNano()}) })
		}
		last = now
	}
}

// history collects all that is known after the end.
func (r *run) history(ctx context.Context) (*history, error) {
	h := &history{groups: r.groups, claimMinIdle: r.claimMinIdle, published: map[string]*publication{}}
	r.note(func() { h.troubles, h.destroyed = slices.Clone(r.troubles), r.destroyed })
	for _, s := range r.sources {
		for _, p := range s.published {
			h.published[p.uuid] = p
		}
	}
	for start := "-"; ; {
		page, err := r.client.XRangeN(ctx, r.topic, start, "+", 1000).Result()
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(m.ID, m.Values)
			if err != nil {
				return nil, err
			}
			h.entries = append(h.entries, entry{id: m.ID, uuid: msg.UUID})
		}
		if len(page) == 0 {
			break
		}
		start = "(" + page[len(page)-1].ID
	}
	var reader journalReader
	for i, w := range r.workers {
		for _, l := range w.lives {
			events, err := reader.readFile(l.journal)
			if err != nil {
				return nil, err
			}
			h.processes = append(h.processes, &processHistory{name: l.name, killed: l.killed, storms: r.storms[i], events: events})
			if l.failure != "" {
				r.fail(l.failure)
			}
		}
	}
	return h, nil
}

// randomSeed is for runs that were given none.
func randomSeed() uint64 { return rand.Uint64() }

// cleanUp removes the journals and logs of a run unless they are needed to understand it.
func (r *run) cleanUp(failed bool) {
	if failed || r.options.verbose {
		fmt.Fprintf(r.out, "journals and logs: %s\n", r.dir)
		return
	}
	_ = os.RemoveAll(r.dir)
}
