package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// group is a group of members that follow the assignment, as far as a test lets them.
type group struct {
	n     int
	peers []peer // what the record has
	moves int
}

func (g *group) join(name string) {
	g.peers = put(g.peers, peer{name, false, newSet(g.n), newSet(g.n)})
}

func (g *group) at(name string) *peer {
	return &g.peers[slices.IndexFunc(g.peers, func(p peer) bool { return p.name == name })]
}

func (g *group) remove(name string) {
	g.peers = slices.DeleteFunc(g.peers, func(p peer) bool { return p.name == name })
}

// copied returns the record as a member reads it.
func (g *group) copied() []peer {
	peers := make([]peer, len(g.peers))
	for i, p := range g.peers {
		peers[i] = peer{p.name, p.leaving, p.keeps.clone(), p.gives.clone()}
	}
	return peers
}

// owner returns who has a partition; empty: nobody.
func (g *group) owner(partition int) string {
	for _, p := range g.peers {
		if p.keeps.has(partition) || p.gives.has(partition) {
			return p.name
		}
	}
	return ""
}

// follow lets a member do some of what the assignment by this view says. It reports whether there
// was anything to do.
func (g *group) follow(view []peer, name string, some func() bool) bool {
	me := g.at(name)
	for i := range view {
		if view[i].name == name {
			view[i] = peer{name, me.leaving, me.keeps.clone(), me.gives.clone()}
		}
	}
	give, take, _ := assign(g.n, view, name)
	if me.leaving {
		give = slices.Collect(me.keeps.all())
	}
	busy := len(give)+len(take) > 0 || me.gives.count() > 0
	for _, p := range give {
		if some() {
			me.keeps.remove(p)
			me.gives.add(p)
		}
	}
	for p := range me.gives.clone().all() {
		if some() {
			me.gives.remove(p)
		}
	}
	for _, p := range take {
		if some() && g.owner(p) == "" { // the ownership decides
			me.keeps.add(p)
			g.moves++
		}
	}
	return busy
}

// settle lets all members follow, in random order and in part, until none has anything to do.
func (g *group) settle(t *testing.T, random *rand.Rand) {
	t.Helper()
	for range 1000 {
		busy := false
		for _, i := range random.Perm(len(g.peers)) {
			busy = g.follow(g.copied(), g.peers[i].name, func() bool { return random.IntN(3) > 0 }) || busy
		}
		if !busy {
			g.balanced(t)
			return
		}
	}
	require.FailNow(t, "the assignment does not settle")
}

func (g *group) balanced(t *testing.T) {
	t.Helper()
	m := 0
	for _, p := range g.peers {
		if !p.leaving {
			m++
		}
	}
	if m == 0 {
		return
	}
	seen, more := newSet(g.n), 0
	for _, p := range g.peers {
		count := p.keeps.count()
		if p.leaving {
			require.Zero(t, count)
			continue
		}
		require.Contains(t, []int{g.n / m, (g.n + m - 1) / m}, count)
		if count > g.n/m {
			more++
		}
		for partition := range p.keeps.all() {
			require.False(t, seen.has(partition), "partition %d has two owners", partition)
			seen.add(partition)
		}
	}
	require.Equal(t, g.n, seen.count())
	require.Equal(t, g.n%m, more)
}

func (g *group) counts() map[string]int {
	counts := map[string]int{}
	for _, p := range g.peers {
		counts[p.name] = p.keeps.count()
	}
	return counts
}

// minimum returns how many partitions have to move: what has no owner or one that leaves, and what
// members have beyond what they may have.
func (g *group) minimum() int {
	m, kept, counts := 0, 0, []int{}
	for _, p := range g.peers {
		if !p.leaving {
			m++
			counts = append(counts, p.keeps.count())
		}
	}
	if m == 0 {
		return 0
	}
	least, more := g.n/m, g.n%m
	for _, count := range counts {
		if count > least && more > 0 {
			more--
			kept += least + 1
		} else {
			kept += min(count, least)
		}
	}
	return g.n - kept
}

// Whatever joins, leaves and dies, in whatever order members follow: partitions are shared evenly,
// and no more of them move than have to.
func TestAssign_randomHistories(t *testing.T) {
	t.Parallel()
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	for round := range rounds {
		random := rand.New(rand.NewPCG(1, uint64(round)))
		g := &group{n: 1 + random.IntN(100)}
		for event := range 12 {
			switch kind := random.IntN(4); {
			case kind < 2 || len(g.peers) == 0:
				for i := range 1 + random.IntN(5) {
					g.join(fmt.Sprintf("%x-%d-%d", random.Uint32(), event, i))
				}
			case kind == 2:
				for range random.IntN(len(g.peers)) + 1 {
					g.peers[random.IntN(len(g.peers))].leaving = true
				}
			default:
				for range random.IntN(len(g.peers)) + 1 {
					g.remove(g.peers[random.IntN(len(g.peers))].name)
				}
			}
			g.moves = 0
			minimum := g.minimum()
			g.settle(t, random)
			require.Equal(t, minimum, g.moves, "round %d, event %d: moves", round, event)
			g.peers = slices.DeleteFunc(g.peers, func(p peer) bool { return p.leaving })
		}
	}
}

// Members that read the record at different times still settle soon after it stops to change, and
// the ownerships keep partitions apart.
func TestAssign_staleViews(t *testing.T) {
	t.Parallel()
	rounds := 500
	if testing.Short() {
		rounds = 50
	}
	for round := range rounds {
		random := rand.New(rand.NewPCG(2, uint64(round)))
		g := &group{n: 1 + random.IntN(200)}
		views := map[string][]peer{}
		for step := range 60 {
			switch kind := random.IntN(10); {
			case kind < 2 || len(g.peers) == 0:
				g.join(fmt.Sprintf("%x-%d", random.Uint32(), step))
			case kind == 2 && len(g.peers) > 1:
				g.remove(g.peers[random.IntN(len(g.peers))].name)
			}
			for _, p := range g.copied() {
				if views[p.name] == nil || random.IntN(3) == 0 {
					views[p.name] = g.copied()
				}
				g.follow(slices.Clone(views[p.name]), p.name, func() bool { return random.IntN(2) == 0 })
			}
		}
		g.settle(t, random)
		before := g.counts()
		g.moves = 0
		g.settle(t, random)
		require.Zero(t, g.moves, "nothing moves when nothing changes")
		require.Equal(t, before, g.counts())
	}
}

func TestAssign_examples(t *testing.T) {
	t.Parallel()
	owner := func(name string, partitions ...int) peer {
		return peer{name, false, setOf(4, partitions...), newSet(4)}
	}
	for name, test := range map[string]struct {
		peers      []peer
		give, take []int
		awaits     bool
	}{
		"alone":                        {[]peer{owner("me")}, nil, []int{0, 1, 2, 3}, false},
		"even":                         {[]peer{owner("me", 0, 1), owner("you", 2, 3)}, nil, nil, false},
		"a newcomer":                   {[]peer{owner("me", 0, 1, 2, 3), owner("you")}, []int{3, 2}, nil, false},
		"the newcomer waits":           {[]peer{owner("me"), owner("you", 0, 1, 2, 3)}, nil, nil, true},
		"what is given up is not free": {[]peer{owner("me"), {"you", false, setOf(4, 0, 1), setOf(4, 2, 3)}}, nil, nil, true},
		"what was released is":         {[]peer{owner("me"), {"you", false, setOf(4, 0, 1), setOf(4, 2)}}, nil, []int{3}, true},
		"one who leaves counts not":    {[]peer{owner("me", 0, 1), {"you", true, newSet(4), setOf(4, 3)}}, nil, []int{2}, true},
		"I leave":                      {[]peer{{"me", true, setOf(4, 0, 1), newSet(4)}, owner("you", 2, 3)}, nil, nil, false},
		"stand by":                     {[]peer{owner("a", 0), owner("b", 1), owner("c", 2), owner("d", 3), owner("me")}, nil, nil, false},
		"claimed by two":               {[]peer{owner("a", 0, 1), owner("me", 1, 2), owner("z", 3)}, nil, nil, false},
	} {
		slices.SortFunc(test.peers, byName)
		give, take, awaits := assign(4, test.peers, "me")
		slices.Sort(take)
		assert.Equal(t, test.give, give, name)
		assert.Equal(t, test.take, take, name)
		assert.Equal(t, test.awaits, awaits, name)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	for round := range 200 {
		random := rand.New(rand.NewPCG(3, uint64(round)))
		n := 1 + random.IntN(200)
		s, want := newSet(n), []int(nil)
		for p := range n {
			if random.IntN(3) > 0 {
				s.add(p)
				want = append(want, p)
			}
		}
		assert.Equal(t, want, slices.Collect(s.all()))
		assert.Equal(t, len(want), s.count())
		parsed, err := parseSet(n, s.text())
		require.NoError(t, err)
		assert.Equal(t, s, parsed)
		at := random.IntN(n)
		next := slices.IndexFunc(want, func(p int) bool { return p >= at })
		switch {
		case len(want) == 0:
			assert.Equal(t, -1, s.from(at))
			assert.Equal(t, -1, s.last())
		case next < 0:
			assert.Equal(t, want[0], s.from(at))
		default:
			assert.Equal(t, want[next], s.from(at))
			assert.Equal(t, want[len(want)-1], s.last())
		}
		assert.Equal(t, n, fullSet(n).count())
	}
	assert.Equal(t, "0-3,7", setOf(10, 0, 1, 2, 3, 7).text())
	for _, text := range []string{"", "x", "1-", "-1", "3-1", "10", "1,,2", "0-10"} {
		_, err := parseSet(10, text)
		require.Error(t, err, text)
	}
}

func TestPeer(t *testing.T) {
	t.Parallel()
	p, err := parsePeer(10, "a", "active 0-3,7 9 later")
	require.NoError(t, err)
	assert.Equal(t, peer{"a", false, setOf(10, 0, 1, 2, 3, 7), setOf(10, 9)}, p)
	assert.Equal(t, "active 0-3,7 9", p.text())
	for _, text := range []string{"", "active", "active -", "gone - -", "active x -", "active - 10"} {
		_, err := parsePeer(10, "a", text)
		require.Error(t, err, text)
	}
}
