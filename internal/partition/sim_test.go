package partition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// sim is a simulation in a bubble of testing/synctest: real members, on servers and a network that
// are models. All that is random comes from the seed and from what it is for, not from the order in
// which goroutines run, so a seed has one result.
type sim struct {
	t       *testing.T
	seed    uint64
	n       int
	lease   time.Duration
	network network
	logger  watermill.LoggerAdapter
	settles time.Duration // a running message takes up to that long when its partition is given up

	mu       sync.Mutex
	record   *recordModel
	owners   []ownerModel
	offset   time.Duration // of the clock of the topic's server
	downTill time.Time
	procs    map[string]*proc
	counts   counts
	runs     []run // by partition
	gaps     []time.Duration
	moved    int
	stopped  int // partitions that members gave up
	overlaps []string
}

// network is what the simulated network does to calls.
type network struct {
	least, most time.Duration // the round trip
	lost        int           // of 1000 replies, that many are lost
	timeout     time.Duration // until a caller gives up a reply
}

var (
	nearby = network{least: 500 * time.Microsecond, most: 2 * time.Millisecond, timeout: 3 * time.Second}
	slow   = network{least: 50 * time.Millisecond, most: 500 * time.Millisecond, lost: 5, timeout: 3 * time.Second}
)

// counts are the commands that the servers got.
type counts struct{ looks, beats, acquires, renews, releases int }

func (c counts) minus(other counts) counts {
	return counts{
		c.looks - other.looks, c.beats - other.beats, c.acquires - other.acquires, c.renews - other.renews, c.releases - other.releases,
	}
}

func (c counts) topic() int      { return c.looks + c.beats }
func (c counts) partitions() int { return c.acquires + c.renews + c.releases }

// run is who runs a partition, by its own belief.
type run struct {
	by    string // empty: nobody
	last  string // who ran it before
	ended time.Time
}

func newSim(t *testing.T, seed uint64, n int, lease time.Duration) *sim {
	t.Helper()
	s := &sim{
		t: t, seed: seed, n: n, lease: lease, network: nearby, settles: 100 * time.Millisecond, logger: watermill.NopLogger{},
		owners: make([]ownerModel, n), runs: make([]run, n), procs: map[string]*proc{},
	}
	s.record = newRecordModel(func() int64 { return time.Now().Add(s.offset).UnixMilli() })
	return s
}

// random returns a number below most, which depends on nothing but the seed and what it is for.
func (s *sim) random(most int64, what ...uint64) int64 {
	x := s.seed
	for _, w := range what {
		x = (x ^ w) * 0x9e3779b97f4a7c15
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 32
	}
	return int64(x % uint64(most))
}

var (
	errDown = errors.New("the server is down")
	errLost = errors.New("no reply in time")
	errDead = errors.New("the process is dead")
)

// proc is a process with one member. It is a Runner, as the subscriptions of a process are.
type proc struct {
	sim     *sim
	name    string
	id      uint64
	member  *Member
	changed chan struct{}
	ctx     context.Context //nolint:containedctx // ends with the process
	kill    context.CancelFunc
	tasks   sync.WaitGroup

	mu          sync.Mutex
	calls       map[uint64]uint64 // how many calls of each kind there were
	parts       map[int]*part
	pausedUntil time.Time
}

// part is a partition that a process owns.
type part struct {
	generation int64
	until      time.Time // the process knows that it is the owner until then
	stopping   bool
	settled    bool // no message of it is running any more
	end        context.CancelFunc
	deadline   *time.Timer
}

// What calls are for, so that their delays are independent.
const (
	forLook uint64 = iota
	forBeat
	forAcquire
	forRenew
	forRelease
	forSettle
	forStart
)

func (s *sim) start(i int) {
	p := &proc{
		sim: s, name: fmt.Sprintf("member-%04d", i), id: uint64(i), changed: make(chan struct{}, 1),
		calls: map[uint64]uint64{}, parts: map[int]*part{},
	}
	p.ctx, p.kill = context.WithCancel(context.Background())
	p.member = Start(Config{
		Name: p.name, Partitions: s.n, Lease: s.lease, Record: p, Runner: p, Changed: p.changed, Logger: s.logger,
	})
	s.mu.Lock() // whoever finds the process in the map finds its member, too
	defer s.mu.Unlock()
	s.procs[p.name] = p
}

// close ends a process in order.
func (p *proc) close(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p.member.Close(ctx)
	p.gone()
}

// die ends a process at once.
func (p *proc) die() {
	p.gone()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.member.Close(ctx)
}

// gone ends what a process still runs.
func (p *proc) gone() {
	p.kill()
	p.mu.Lock()
	parts := p.parts
	p.parts = map[int]*part{}
	p.mu.Unlock()
	p.sim.mu.Lock()
	delete(p.sim.procs, p.name)
	p.sim.mu.Unlock()
	for partition, own := range parts {
		own.stop()
		if !own.settled {
			p.sim.ended(partition, p.name)
		}
	}
}

func (own *part) stop() {
	own.end()
	own.deadline.Stop()
}

// pause makes a process stand still: it sends nothing, and sees no reply.
func (p *proc) pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pausedUntil = time.Now().Add(d)
}

// sleep sleeps, and as long as the process stands still.
func (p *proc) sleep(ctx context.Context, d time.Duration) bool {
	if !rest(ctx, d) {
		return false
	}
	p.mu.Lock()
	standing := time.Until(p.pausedUntil)
	p.mu.Unlock()
	return standing <= 0 || rest(ctx, standing)
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// call makes one round trip.
func (p *proc) call(kind, partition uint64, do func()) error {
	s := p.sim
	s.mu.Lock()
	network := s.network
	s.mu.Unlock()
	which := kind<<32 | partition
	p.mu.Lock()
	p.calls[which]++
	nth := p.calls[which]
	p.mu.Unlock()
	random := func(most int64, what uint64) int64 { return s.random(most, p.id, which, nth, what) }
	trip := network.least + time.Duration(random(int64(network.most-network.least), 1))
	there := time.Duration(random(int64(trip), 2))
	if !p.sleep(p.ctx, there) {
		return errDead
	}
	s.mu.Lock()
	down := time.Now().Before(s.downTill)
	if !down {
		do()
	}
	s.mu.Unlock()
	if down {
		return errDown
	}
	back, err := trip-there, error(nil)
	if random(1000, 3) < int64(network.lost) {
		back, err = network.timeout-there, errLost
	}
	if !p.sleep(p.ctx, back) {
		return errDead
	}
	return err
}

// Version is part of Record.
func (p *proc) Version(context.Context) (version int64, err error) {
	err = p.call(forLook, 0, func() {
		p.sim.counts.looks++
		version = p.sim.record.head()
	})
	return version, err
}

// Beat is part of Record.
func (p *proc) Beat(_ context.Context, beat stream.Beat) (reply stream.BeatReply, err error) {
	err = p.call(forBeat, 0, func() {
		p.sim.counts.beats++
		reply = p.sim.record.beat(beat)
	})
	return reply, err
}

// Leave is part of Record.
func (p *proc) Leave(_ context.Context, name string) error {
	return p.call(forBeat, 0, func() {
		p.sim.counts.beats++
		p.sim.record.beat(stream.Beat{Name: name})
	})
}

// Acquire is part of Runner.
func (p *proc) Acquire(_ context.Context, partition int) (wait time.Duration, err error) {
	s, sent, generation := p.sim, time.Now(), int64(0)
	err = p.call(forAcquire, uint64(partition), func() {
		s.counts.acquires++
		generation, wait = s.owners[partition].acquire(p.name, s.lease, time.Now())
		if wait == 0 {
			s.checkNobodyRuns(partition, p.name)
		}
	})
	if err != nil || wait > 0 {
		return wait, err
	}
	p.begin(partition, generation, sent.Add(s.lease))
	return 0, nil
}

// begin runs a partition.
func (p *proc) begin(partition int, generation int64, until time.Time) {
	ctx, end := context.WithCancel(p.ctx)
	own := &part{generation: generation, until: until, end: end}
	p.mu.Lock()
	if p.ctx.Err() != nil || !time.Now().Before(until) {
		p.mu.Unlock()
		end()
		return
	}
	own.deadline = time.AfterFunc(time.Until(until), func() { p.lose(partition, own) })
	p.parts[partition] = own
	p.mu.Unlock()
	p.sim.began(partition, p.name)
	p.tasks.Go(func() { p.renew(ctx, partition, own) })
}

// renew renews the ownership of a partition until it ends.
func (p *proc) renew(ctx context.Context, partition int, own *part) {
	for pause := p.sim.lease / 3; p.sleep(ctx, pause); {
		pause = p.sim.lease / 3
		sent, is := time.Now(), false
		err := p.call(forRenew, uint64(partition), func() {
			p.sim.counts.renews++
			is = p.sim.owners[partition].renew(p.name, own.generation, time.Now())
		})
		switch {
		case err != nil:
			pause = 100 * time.Millisecond
		case !is:
			p.lose(partition, own)
			return
		default:
			p.mu.Lock()
			if p.parts[partition] == own && time.Now().Before(own.until) {
				own.until = sent.Add(p.sim.lease)
				own.deadline.Reset(time.Until(own.until))
			}
			p.mu.Unlock()
		}
	}
}

// lose ends a partition whose ownership is over.
func (p *proc) lose(partition int, own *part) {
	p.mu.Lock()
	if p.parts[partition] != own {
		p.mu.Unlock()
		return
	}
	delete(p.parts, partition)
	own.stop()
	p.mu.Unlock()
	if !own.settled {
		p.sim.ended(partition, p.name)
	}
	p.notify()
}

func (p *proc) notify() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Stop is part of Runner.
func (p *proc) Stop(partition int) {
	p.mu.Lock()
	own := p.parts[partition]
	if own != nil {
		own.stopping = true
	}
	p.mu.Unlock()
	p.sim.mu.Lock()
	p.sim.stopped++
	p.sim.mu.Unlock()
	if own != nil {
		p.tasks.Go(func() { p.release(partition, own) })
	}
}

// release gives a partition up when its running message is settled.
func (p *proc) release(partition int, own *part) {
	var settles time.Duration
	p.sim.onServer(func() { settles = p.sim.settles })
	settle := p.sim.random(int64(settles), p.id, forSettle, uint64(partition))
	if !p.sleep(p.ctx, time.Duration(settle)) {
		return
	}
	p.mu.Lock()
	if p.parts[partition] != own {
		p.mu.Unlock()
		return
	}
	own.settled = true
	p.mu.Unlock()
	p.sim.ended(partition, p.name)
	for {
		err := p.call(forRelease, uint64(partition), func() {
			p.sim.counts.releases++
			p.sim.owners[partition].release(p.name, own.generation)
		})
		if err == nil {
			p.lose(partition, own)
			return
		}
		if !p.sleep(p.ctx, 50*time.Millisecond) {
			return
		}
	}
}

// Held is part of Runner.
func (p *proc) Held() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]int, 0, len(p.parts))
	for partition := range p.parts {
		list = append(list, partition)
	}
	slices.Sort(list)
	return list
}

// checkNobodyRuns notes when a partition gets an owner while another process believes that it is the
// owner. The caller holds the lock.
func (s *sim) checkNobodyRuns(partition int, name string) {
	if by := s.runs[partition].by; by != "" && by != name {
		s.overlaps = append(s.overlaps, fmt.Sprintf("partition %d of %s, acquired by %s", partition, by, name))
	}
}

// began notes that a process runs a partition.
func (s *sim) began(partition int, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkNobodyRuns(partition, name)
	r := &s.runs[partition]
	if r.by == "" && r.last != "" {
		s.gaps = append(s.gaps, time.Since(r.ended))
	}
	if r.last != name {
		s.moved++
	}
	*r = run{by: name, last: name}
}

// ended notes that a process does not run a partition any more.
func (s *sim) ended(partition int, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs[partition].by == name {
		s.runs[partition] = run{last: name, ended: time.Now()}
	}
}

// isBalanced reports whether each partition is run, and all processes have their share.
func (s *sim) isBalanced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := map[string]int{}
	for _, r := range s.runs {
		held[r.by]++
	}
	least, most := s.n/len(s.procs), (s.n+len(s.procs)-1)/len(s.procs)
	for name := range s.procs {
		if held[name] < least || held[name] > most {
			return false
		}
		delete(held, name)
	}
	return len(held) == 0
}
