package partition

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// simLease is the lease of docs/scale.md. shortestLease is the least ClaimMinIdle of a subscription
// with partitions.
const (
	simLease      = 10 * time.Second
	shortestLease = 2 * time.Second
)

// size is how large a simulation is.
type size struct{ members, partitions int }

// large is the group of docs/scale.md. With the race detector it takes minutes.
var (
	large = size{200, 1024}
	small = size{30, 100}
)

// scenario is one event for a group that is balanced.
type scenario struct {
	name    string
	lease   time.Duration
	network network // the zero value: nearby
	// unsteady is set if replies are lost for longer than a lease lasts: ownerships end again and again.
	unsteady bool
	isEmpty  bool // there is no group before
	// event happens, and returns how many partitions have to move.
	event func(s *sim, members int) (minimum int)
	limits
}

// limits are what a scenario must keep to.
type limits struct {
	within time.Duration // the time to balance
	p99    time.Duration // of the times without an owner
	max    time.Duration
	excess int // how many more partitions may move than have to, in percent
}

func scenarios(lease time.Duration) []scenario {
	quick := limits{within: 3 * time.Second, p99: 600 * time.Millisecond, max: time.Second}
	death := limits{within: lease + time.Second, p99: lease + time.Second, max: lease + time.Second}
	// Those that die together are not removed together, so some partitions may move twice.
	deaths := limits{within: death.within + giveAfter, p99: death.p99, max: death.max, excess: 5}
	nothing := limits{within: time.Second}
	far := limits{within: 10 * time.Second, p99: 5 * time.Second, max: 8 * time.Second, excess: 20}
	farDeath := limits{within: lease + 10*time.Second, p99: lease + 6*time.Second, max: lease + 10*time.Second, excess: 20}
	list := []scenario{
		{
			name: "all start within 2 s", isEmpty: true, limits: limits{within: 3 * time.Second, p99: time.Second, max: time.Second, excess: 100},
			event: func(s *sim, members int) int {
				s.startAll(0, members, 2*time.Second)
				return s.n
			},
		},
		{name: "nothing happens", limits: nothing, event: func(*sim, int) int {
			time.Sleep(5 * time.Second)
			return 0
		}},
		{name: "one joins", limits: quick, event: func(s *sim, members int) int { return s.join(members, 1) }},
		{name: "a quarter joins within 2 s", limits: quick, event: func(s *sim, members int) int { return s.join(members, members/4) }},
		{name: "one leaves", limits: quick, event: func(s *sim, _ int) int { return s.leave(s.names()[:1]) }},
		{name: "a quarter leaves at once", limits: quick, event: func(s *sim, members int) int { return s.leave(s.names()[:members/4]) }},
		{name: "one dies", limits: death, event: func(s *sim, _ int) int { return s.die(s.names()[:1]) }},
		{name: "a zone fails: a third dies", limits: deaths, event: func(s *sim, members int) int { return s.die(s.names()[:members/3]) }},
		{name: "five restart, one after the other", limits: quick, event: func(s *sim, members int) int { return s.deploy(members, 5, 1) }},
		{name: "all restart, a fifth at a time", limits: quick, event: func(s *sim, members int) int { return s.deploy(members, members, members/5) }},
		{name: "one stands still for 2 leases", limits: quick, event: func(s *sim, members int) int {
			minimum := s.least(s.names()[:1], 0) + s.n/members
			s.proc(s.names()[0]).pause(2 * lease)
			time.Sleep(2*lease + time.Second)
			return minimum
		}},
		{name: "the record is lost", limits: nothing, event: func(s *sim, _ int) int {
			s.onServer(s.record.flush)
			time.Sleep(2 * time.Second)
			return 0
		}},
		{name: "the servers are down for half a lease", limits: nothing, event: func(s *sim, _ int) int { return s.outage(lease / 2) }},
		{
			name: "the servers are down for 1.5 leases", limits: limits{within: time.Second, p99: lease + longestPause, max: lease + longestPause},
			event: func(s *sim, _ int) int { return s.outage(lease * 3 / 2) },
		},
		{
			name: "the clock is set back by an hour, and one dies", limits: limits{within: 2 * lease, p99: 2 * lease, max: 2 * lease},
			event: func(s *sim, _ int) int {
				s.onServer(func() { s.offset = -time.Hour })
				return s.die(s.names()[:1])
			},
		},
		{name: "the clock is set forward by an hour", limits: nothing, event: func(s *sim, _ int) int {
			s.onServer(func() { s.offset = time.Hour })
			time.Sleep(2 * time.Second)
			return 0
		}},
		{name: "slow network: one joins", network: slow, limits: far, event: func(s *sim, members int) int { return s.join(members, 1) }},
		{name: "slow network: one leaves", network: slow, limits: far, event: func(s *sim, _ int) int { return s.leave(s.names()[:1]) }},
		{
			name: "slow network: a fifth restarts", network: slow, limits: far,
			event: func(s *sim, members int) int { return s.deploy(members, members/5, members/5) },
		},
		{
			name: "slow network: a third dies", network: slow, limits: farDeath,
			event: func(s *sim, members int) int { return s.die(s.names()[:members/3]) },
		},
	}
	for i := range list {
		list[i].lease = lease
	}
	return list
}

// onServer does something that no call sees half done.
func (s *sim) onServer(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *sim) outage(d time.Duration) (minimum int) {
	s.onServer(func() { s.downTill = time.Now().Add(d) })
	time.Sleep(d)
	return 0
}

func (s *sim) join(first, n int) (minimum int) {
	minimum = s.least(nil, n)
	if n == 1 {
		s.start(first)
	} else {
		s.startAll(first, n, 2*time.Second)
	}
	return minimum
}

func (s *sim) leave(names []string) (minimum int) {
	minimum = s.least(names, 0)
	s.each(names, func(p *proc) { p.close(30 * time.Second) })
	return minimum
}

func (s *sim) die(names []string) (minimum int) {
	minimum = s.least(names, 0)
	s.each(names, (*proc).die)
	return minimum
}

// deploy replaces members, some at a time: they leave, and new ones join 2 s later.
func (s *sim) deploy(first, members, atATime int) (minimum int) {
	old := s.names()[:members]
	for i, names := range slices.Collect(slices.Chunk(old, atATime)) {
		minimum += s.leave(names)
		time.Sleep(2 * time.Second)
		minimum += s.least(nil, len(names))
		for j := range names {
			s.start(first + i*atATime + j)
		}
		if first+(i+1)*atATime < first+members {
			time.Sleep(3 * time.Second)
		}
	}
	return minimum
}

// names returns the processes in order.
func (s *sim) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.procs))
}

func (s *sim) proc(name string) *proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.procs[name]
}

// least returns how many partitions have to move, with these processes gone and these new.
func (s *sim) least(gone []string, join int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &group{n: s.n}
	for name := range s.procs {
		if !slices.Contains(gone, name) {
			g.join(name)
		}
	}
	for i := range join {
		g.join(fmt.Sprintf("new %d", i))
	}
	for partition, r := range s.runs {
		if at := slices.IndexFunc(g.peers, func(p peer) bool { return p.name == r.by }); at >= 0 {
			g.peers[at].keeps.add(partition)
		}
	}
	return g.minimum()
}

// startAll starts processes within a time.
func (s *sim) startAll(first, n int, within time.Duration) {
	for i := range n {
		time.AfterFunc(time.Duration(s.random(int64(within), forStart, uint64(first+i))), func() { s.start(first + i) })
	}
	time.Sleep(within)
}

// each does something to processes at the same time, and returns when it is done.
func (s *sim) each(names []string, do func(p *proc)) {
	done := make(chan struct{})
	for i, name := range names {
		p := s.proc(name)
		time.AfterFunc(time.Duration(i)*time.Microsecond, func() {
			do(p)
			done <- struct{}{}
		})
	}
	for range names {
		<-done
	}
}

// await returns when the partitions are balanced, or after a minute.
func (s *sim) await() (took time.Duration) {
	begun := time.Now()
	for !s.isBalanced() && time.Since(begun) < time.Minute {
		time.Sleep(10*time.Millisecond + 7)
	}
	return time.Since(begun)
}

// end ends all processes.
func (s *sim) end() {
	for _, name := range s.names() {
		p := s.proc(name)
		p.die()
		p.tasks.Wait()
	}
}

// result is what a scenario shows.
type result struct {
	balanced time.Duration // from the event until each partition runs and all have their share
	moved    int
	minimum  int
	gaps     []time.Duration // for how long partitions had no owner, the shortest first
	topic    float64         // commands a second, from the event until 5 s after the partitions are balanced
	others   float64
}

// simulate balances a group, lets the event happen, and returns what it shows.
func simulate(t *testing.T, seed uint64, of size, sc scenario) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, of.partitions, sc.lease)
		if !sc.isEmpty {
			s.startAll(0, of.members, time.Second)
			require.Less(t, s.await(), 10*time.Second, "the start")
			time.Sleep(3 * time.Second)
			require.True(t, s.isBalanced(), "it stays balanced")
		}
		if sc.network != (network{}) {
			s.onServer(func() { s.network = sc.network })
		}
		var before counts
		s.onServer(func() { s.moved, s.gaps, before = 0, nil, s.counts })
		begun := time.Now()
		r.minimum = sc.event(s, of.members)
		r.balanced = s.await() // since the end of the event
		time.Sleep(5 * time.Second)
		assert.True(t, s.isBalanced() || sc.unsteady, "it stays balanced")
		s.onServer(func() {
			sent := s.counts.minus(before)
			r.topic = float64(sent.topic()) / time.Since(begun).Seconds()
			r.others = float64(sent.partitions()) / time.Since(begun).Seconds()
			r.moved, r.gaps = s.moved, slices.Sorted(slices.Values(s.gaps))
			assert.Empty(t, s.overlaps, "two owners")
		})
		s.end()
	})
	return r
}

// gap returns the time without an owner that so many of a hundred partitions were below.
func (r result) gap(percent int) time.Duration {
	if len(r.gaps) == 0 {
		return 0
	}
	return r.gaps[(len(r.gaps)-1)*percent/100].Round(time.Millisecond)
}

func (r result) check(t *testing.T, l limits) {
	t.Helper()
	assert.LessOrEqual(t, r.balanced, l.within, "time to balance")
	assert.LessOrEqual(t, r.gap(99), l.p99, "p99 without an owner")
	assert.LessOrEqual(t, r.gap(100), l.max, "longest time without an owner")
	assert.LessOrEqual(t, r.moved, r.minimum+r.minimum*l.excess/100, "moved")
	assert.GreaterOrEqual(t, r.moved, r.minimum*9/10, "moved")
}

// Whatever happens to a group, its partitions are balanced soon, no partition has two owners, no
// more partitions move than have to, and the servers get few commands.
func TestSimulation(t *testing.T) {
	t.Parallel()
	of, seeds := small, 1
	if !testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		for _, sc := range scenarios(simLease) {
			t.Run(fmt.Sprintf("%s/%d", sc.name, seed), func(t *testing.T) {
				t.Parallel()
				r := simulate(t, uint64(seed), of, sc)
				r.check(t, sc.limits)
			})
		}
	}
}

// With the shortest lease, too. A reply that is lost is noticed after more than the lease, so partitions
// are lost then. But none ever has two owners.
func TestSimulation_shortestLease(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios(shortestLease) {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			if sc.unsteady = sc.network.lost > 0; sc.unsteady {
				r := simulate(t, 0, small, sc)
				assert.LessOrEqual(t, r.gap(100), sc.max, "longest time without an owner")
				sc.network.lost, sc.unsteady = 0, false
			}
			simulate(t, 0, small, sc).check(t, sc.limits)
		})
	}
}

// A seed has one result, so a failure can be looked at again.
func TestSimulation_isDeterministic(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios(simLease) {
		if strings.HasPrefix(sc.name, "slow") || strings.Contains(sc.name, "down") {
			first := simulate(t, 7, small, sc)
			assert.Equal(t, first, simulate(t, 7, small, sc), sc.name)
		}
	}
}

// row is a row of the table in docs/scale.md.
func (r result) row(name string) string {
	gaps := "none"
	if len(r.gaps) > 0 {
		gaps = fmt.Sprintf("%v, %v, %v", r.gap(50), r.gap(99), r.gap(100))
	}
	return fmt.Sprintf("| %s | %v | %d of %d | %s | %.0f | %.0f |\n",
		name, r.balanced.Round(10*time.Millisecond), r.moved, r.minimum, gaps, r.topic, r.others)
}
