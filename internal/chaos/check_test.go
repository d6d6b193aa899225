package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// story describes a run. Times are in ns. Entry n-0 has message 0-n, published at 0.
type story struct {
	journals  map[string]string // of process "a", "b" and so on: "S 0 0 strict" is put in front
	killed    map[string]int64
	troubles  []span
	destroyed []span // of the group
	paused    []span // of the group
	group     group  // default: strict
	entries   int    // in the stream and published; default 1
	change    func(h *history)
}

func (s story) verdict(t *testing.T) *verdict {
	t.Helper()
	if s.group.Name == "" {
		s.group = group{Name: "strict", MaxInFlight: 1}
	}
	h := &history{
		groups: []group{s.group}, troubles: s.troubles, destroyed: map[string][]span{s.group.Name: s.destroyed},
		published: map[string]*publication{}, claimMinIdle: time.Second,
	}
	for _, p := range s.paused {
		h.paused = map[string][]groupPause{s.group.Name: append(h.paused[s.group.Name], groupPause{p, p})}
	}
	for n := 1; n <= max(s.entries, 1); n++ {
		uuid := fmt.Sprintf("0-%d", n)
		h.published[uuid] = &publication{uuid: uuid, done: true}
		h.entries = append(h.entries, entry{id: fmt.Sprintf("%d-0", n), uuid: uuid})
	}
	for name, text := range s.journals {
		var reader journalReader
		events, err := reader.read(strings.NewReader("S 0 0 " + s.group.Name + "\n" + strings.ReplaceAll(text, ", ", "\n")))
		require.NoError(t, err)
		h.processes = append(h.processes, &processHistory{name: name, killed: s.killed[name], events: events})
	}
	if s.change != nil {
		s.change(h)
	}
	return check(h)
}

func (h *history) process(name string) *processHistory {
	return h.processes[slices.IndexFunc(h.processes, func(p *processHistory) bool { return p.name == name })]
}

func one(journal string) map[string]string { return map[string]string{"a": journal} }

func TestCheck_allWell(t *testing.T) {
	t.Parallel()
	v := story{entries: 2, journals: one("D 10 0 1-0 1 0-1, N 11 0 1-0, D 12 0 1-0 2 0-1, A 13 0 1-0, D 14 0 2-0 1 0-2, A 15 0 2-0, T 16 0 1-0 2-0")}.verdict(t)
	assert.True(t, v.ok(), "%+v", v)
	assert.Equal(t, 3, v.deliveries)
	assert.Empty(t, v.duplicates)
	assert.Empty(t, v.takenOver)
}

func TestCheck_findsLost(t *testing.T) {
	t.Parallel()
	notInStream := func(h *history) { h.entries = nil }
	for name, s := range map[string]story{
		"never delivered":    {journals: one("")},
		"never acked":        {journals: one("D 10 0 1-0 1 0-1")},
		"nacked only":        {journals: one("D 10 0 1-0 1 0-1, N 11 0 1-0")},
		"not in the stream":  {journals: one(""), change: notInStream},
		"lost in one group":  {journals: one("D 10 0 1-0 1 0-1, A 11 0 1-0"), change: func(h *history) { h.groups = append(h.groups, group{Name: "other"}) }},
		"one of two":         {entries: 2, journals: one("D 10 0 1-0 1 0-1, A 11 0 1-0")},
		"killed and no more": {journals: one("D 10 0 1-0 1 0-1"), killed: map[string]int64{"a": 12}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := s.verdict(t)
			assert.Len(t, v.lost, 1)
			assert.False(t, v.ok())
		})
	}
	v := story{journals: one(""), change: func(h *history) { h.entries, h.published["0-1"].done = nil, false }}.verdict(t)
	assert.True(t, v.ok(), "its Publish did not succeed")
}

const (
	ackedByA     = "D 10 0 1-0 1 0-1, A 11 0 1-0"
	confirmedByA = ackedByA + ", T 12 0 1-0"
	againByB     = "D 20 0 1-0 2 0-1, A 21 0 1-0, T 22 0 1-0"
	heldByA      = "D 10 0 1-0 1 0-1"
	lateByB      = "D 20 0 1-0 1 0-1, A 21 0 1-0, T 22 0 1-0" // B owned it first
	aClosesAt13  = ", C 13 -1"
)

func jumpedAt(at int64) story {
	return story{change: func(h *history) { h.jumps = []span{{at, at + 1}} }}
}

func TestCheck_duplicates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		story
		a, b string
		why  reason
	}{
		"nothing happened, acked":     {a: ackedByA, b: againByB},
		"nothing happened, confirmed": {a: confirmedByA, b: againByB},
		"nothing happened, held":      {a: heldByA, b: againByB},
		"nothing happened, nacked":    {a: heldByA + ", N 11 0 1-0", b: againByB},
		"killed":                      {a: ackedByA, b: againByB, story: story{killed: map[string]int64{"a": 12}}, why: wasKilled},
		"killed while it was held":    {a: heldByA, b: againByB, story: story{killed: map[string]int64{"a": 12}}, why: wasKilled},
		"killed, but the ack was confirmed": {
			a: confirmedByA, b: "D 700000000 0 1-0 2 0-1, A 700000001 0 1-0", story: story{killed: map[string]int64{"a": 13}},
		},
		"killed, and the ack was confirmed just before the next delivery": {
			a: ackedByA + ", T 690000000 0 1-0", b: "D 700000000 0 1-0 2 0-1, A 700000001 0 1-0",
			story: story{killed: map[string]int64{"a": 695000000}}, why: wasKilled,
		},
		"killed, but later":             {a: ackedByA, b: againByB, story: story{killed: map[string]int64{"a": 25}}},
		"the other one was killed":      {a: ackedByA, b: againByB, story: story{killed: map[string]int64{"b": 30}}},
		"closed":                        {a: heldByA + aClosesAt13, b: againByB, why: wasClosed},
		"closed, nacked":                {a: heldByA + ", N 11 0 1-0" + aClosesAt13, b: againByB, why: wasClosed},
		"closed, but the ack was given": {a: ackedByA + aClosesAt13, b: againByB},
		"closed, and acked after CloseTimeout": {
			a: "D 10 0 1-0 1 0-1, C 13 -1, A 600000000 0 1-0", b: "D 700000000 0 1-0 2 0-1, A 700000001 0 1-0", why: wasClosed,
		},
		"did not run":                 {a: heldByA + ", P 18 -1 12", b: againByB, why: wasStill},
		"claimed, its reply was lost": {a: heldByA + ", P 18 -1 12", b: "F 17 0, W 19 0, D 20 0 1-0 1 0-1, A 21 0 1-0", why: wasStill},
		"counted once, nothing lost":  {a: heldByA + ", P 18 -1 12", b: "D 20 0 1-0 1 0-1, A 21 0 1-0"},
		"the other one did not run":   {a: heldByA, b: againByB + ", P 18 -1 12"},
		"late, after it did not run":  {a: confirmedByA, b: "P 18 -1 12, " + lateByB, why: wasStill},
		"late, and it always ran":     {a: confirmedByA, b: lateByB},
		"cut repeatedly": {
			a: ackedByA, b: againByB, why: wasStorm,
			story: story{change: func(h *history) { h.process("a").storms = []span{{14, 18}} }},
		},
		"the other one was cut repeatedly": {
			a: ackedByA, b: againByB,
			story: story{change: func(h *history) { h.process("b").storms = []span{{14, 18}} }},
		},
		"did not run, but the ack was confirmed long before": {
			a: confirmedByA + ", P 18 -1 10", b: "D 3000000020 0 1-0 2 0-1, A 3000000021 0 1-0",
		},
		"late, but the ack was confirmed long before": {
			a: confirmedByA, b: "P 18 -1 10, D 3000000020 0 1-0 1 0-1, A 3000000021 0 1-0",
		},
		"late, runs again just now, the ack was confirmed long before": {
			a: confirmedByA, b: "P 3000000018 -1 10, D 3000000020 0 1-0 1 0-1, A 3000000021 0 1-0", why: wasStill,
		},
		"the server was down":                {a: ackedByA, b: againByB, story: story{troubles: []span{{14, 18}}}, why: wasTrouble},
		"the server was down, but later":     {a: ackedByA, b: againByB, story: story{troubles: []span{{24, 28}}}},
		"the clock jumped":                   {a: heldByA, b: againByB, story: jumpedAt(14), why: wasJump},
		"the clock jumped, but later":        {a: heldByA, b: againByB, story: jumpedAt(24)},
		"late, after a jump":                 {a: confirmedByA, b: lateByB, story: jumpedAt(13), why: wasJump},
		"late, a jump long ago":              {a: confirmedByA, b: "D 3000000020 0 1-0 1 0-1, A 3000000021 0 1-0", story: jumpedAt(13)},
		"killed by itself":                   {a: heldByA + ", K 11 0 1-0", b: againByB, story: story{killed: map[string]int64{"a": 11}}, why: wasKilled},
		"the group was destroyed":            {a: confirmedByA, b: againByB, story: story{destroyed: []span{{14, 15}}}, why: wasDestroyed},
		"the group was destroyed, but later": {a: confirmedByA, b: againByB, story: story{destroyed: []span{{24, 25}}}},
		"destroyed long ago, then killed": {
			a: confirmedByA + ", D 9000000020 0 1-0 1 0-1", b: "D 9000000030 0 1-0 2 0-1, A 9000000031 0 1-0",
			story: story{destroyed: []span{{14, 15}}, killed: map[string]int64{"a": 9000000025}}, why: wasKilled,
		},
		"twice in one subscription":       {a: confirmedByA + ", D 20 0 1-0 1 0-1, A 21 0 1-0", b: ""},
		"nacked, acked, and nacked again": {a: heldByA + ", N 11 0 1-0, D 12 0 1-0 2 0-1, A 13 0 1-0, D 20 0 1-0 3 0-1, N 21 0 1-0, D 22 0 1-0 4 0-1, A 23 0 1-0"},
		"nacked, acked, and again":        {a: heldByA + ", N 11 0 1-0, D 12 0 1-0 2 0-1, A 13 0 1-0, D 20 0 1-0 3 0-1, A 21 0 1-0", b: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.journals = map[string]string{"a": c.a, "b": c.b}
			v := c.verdict(t)
			assert.Empty(t, v.lost)
			assert.Empty(t, v.disorder)
			if c.why == noReason {
				assert.Len(t, v.unexplained, 1)
				assert.False(t, v.ok())
				return
			}
			assert.True(t, v.ok(), "%+v", v)
			assert.Equal(t, 1, v.duplicates[c.why]+v.takenOver[c.why], "%+v", v)
		})
	}
}

// The ack of an entry of the retry queue ends nothing after its lease. So who takes the entry next may
// die with it, and another one gets it again.
func TestCheck_ackAfterTheLeaseOfTheRetryQueue(t *testing.T) {
	t.Parallel()
	const delivered, killed = int64(5_000_000_000), int64(7_000_000_000)
	for name, c := range map[string]struct {
		retries     bool
		jump        int64
		unexplained int
	}{
		"the clock jumped before the ack":                {retries: true, jump: delivered + 1},
		"the clock jumped long before the delivery":      {retries: true, jump: delivered - 2_000_000_000, unexplained: 1},
		"the clock jumped after it all":                  {retries: true, jump: 2 * killed, unexplained: 2},
		"the clock jumped, the group has no retry queue": {jump: delivered + 1, unexplained: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := jumpedAt(c.jump)
			s.group = group{Name: "loose", MaxInFlight: 4, Retries: c.retries}
			s.journals = map[string]string{
				"a": fmt.Sprintf("D %d 0 1-0 1 0-1, A %d 0 1-0, T %d 0 1-0", delivered, delivered+2, delivered+3),
				"b": fmt.Sprintf("D %d 0 1-0 2 0-1", delivered+10),
				"c": fmt.Sprintf("D %d 0 1-0 3 0-1, A %[1]d 0 1-0", killed+1000),
			}
			s.killed = map[string]int64{"b": killed}
			v := s.verdict(t)
			assert.Len(t, v.unexplained, c.unexplained, "%v", v.unexplained)
		})
	}
}

func TestCheck_publishedTwice(t *testing.T) {
	t.Parallel()
	twice := func(uncertain int) story {
		return story{
			journals: one("D 10 0 1-0 1 0-1, A 11 0 1-0, D 12 0 2-0 1 0-1, A 13 0 2-0"),
			change: func(h *history) {
				h.entries = append(h.entries, entry{id: "2-0", uuid: "0-1"})
				h.published["0-1"].uncertain = uncertain
			},
		}
	}
	assert.Len(t, twice(0).verdict(t).unexplained, 1)
	v := twice(1).verdict(t)
	assert.True(t, v.ok())
	assert.Equal(t, 1, v.duplicates[wasUncertain])
}

func TestCheck_order(t *testing.T) {
	t.Parallel()
	keyed := group{Name: "keyed", MaxInFlight: 4, Keyed: true}
	const (
		first, second = "D 10 0 1-0 1 0-1, A 11 0 1-0, ", "D 20 0 2-0 1 0-2, A 21 0 2-0, "
		newerFirst    = "D 10 0 2-0 1 0-2, A 11 0 2-0, "
		olderLast     = "D 20 0 1-0 1 0-1, A 21 0 1-0, "
	)
	for name, c := range map[string]struct {
		story
		journal string
		wrong   int
	}{
		"as in the stream":                            {journal: first + second},
		"newer first":                                 {journal: newerFirst + olderLast, wrong: 1},
		"newer first, older one claimed":              {journal: newerFirst + "D 20 0 1-0 2 0-1, A 21 0 1-0"},
		"newer first, group recreated":                {journal: newerFirst + olderLast, story: story{destroyed: []span{{12, 13}}}},
		"newer first, reply lost":                     {journal: newerFirst + "F 12 0, W 13 0, " + olderLast},
		"newer first, reply lost later":               {journal: newerFirst + olderLast + "F 22 0, W 23 0", wrong: 1},
		"newer first, older one released undelivered": {journal: newerFirst + olderLast, story: story{journals: map[string]string{"b": "C 5 -1"}}},
		"newer first, closed long ago":                {journal: newerFirst + olderLast, story: story{journals: map[string]string{"b": "C -5 -1, E -4 -1"}}, wrong: 1},
		"two at a time":                               {journal: "D 10 0 1-0 1 0-1, D 11 0 2-0 1 0-2, A 12 0 1-0, A 13 0 2-0", wrong: 1},
		"nacked, then itself":                         {journal: "D 10 0 1-0 1 0-1, N 11 0 1-0, D 12 0 1-0 2 0-1, A 13 0 1-0, " + second},
		"nacked, then its successor":                  {journal: "D 10 0 1-0 1 0-1, N 11 0 1-0, D 12 0 2-0 1 0-2, A 13 0 2-0, D 20 0 1-0 2 0-1, A 21 0 1-0", wrong: 1},
		"nacked, lost, then its successor":            {journal: "D 10 0 1-0 1 0-1, N 11 0 1-0, L 12 0 1-0, " + second, story: story{journals: map[string]string{"b": "D 15 0 1-0 2 0-1, A 16 0 1-0"}, troubles: []span{{11, 12}}}},
		"keyed: two keys at a time":                   {story: story{group: keyed}, journal: "D 10 0 2-0 1 0-2, D 11 0 1-0 1 0-1, A 12 0 1-0, A 13 0 2-0"},
		"keyed: two of a key at a time": {story: story{group: keyed, entries: 11}, journal: "D 10 0 1-0 1 0-1, D 11 0 11-0 1 0-11, A 12 0 1-0, A 13 0 11-0, " +
			"D 14 0 2-0 1 0-2, A 15 0 2-0", wrong: 1},
		"keyed: newer of a key first": {story: story{group: keyed, entries: 11}, journal: "D 10 0 11-0 1 0-11, A 11 0 11-0, " + olderLast, wrong: 1},
		"unordered":                   {story: story{group: group{Name: "loose", MaxInFlight: 4}}, journal: newerFirst + olderLast},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.entries == 0 {
				c.entries = 2
			}
			journals := map[string]string{"a": c.journal}
			maps.Copy(journals, c.journals)
			c.journals = journals
			v := c.verdict(t)
			assert.Len(t, v.disorder, c.wrong, "%v", v.disorder)
			assert.Empty(t, v.unexplained)
		})
	}
}

func TestPlan_replays(t *testing.T) {
	t.Parallel()
	o := options{seed: 7, duration: time.Minute, claimMinIdle: time.Second, workers: 4, groups: allGroups}
	for _, o.cluster = range []bool{false, true} {
		faults := plan(o)
		assert.Equal(t, faults, plan(o))
		other := o
		other.seed = 8
		assert.NotEqual(t, faults, plan(other))
		assert.Greater(t, len(faults), 60)
		for _, f := range faults {
			assert.LessOrEqual(t, f.at+f.lasts, time.Minute, "%s", f)
			assert.NotEqual(t, f.kind, map[bool]faultKind{true: jumpClock, false: moveSlot}[o.cluster])
		}
	}
}

func TestPrecedes(t *testing.T) {
	t.Parallel()
	assert.True(t, precedes("9-1", "10-0"))
	assert.True(t, precedes("9-9", "9-10"))
	assert.False(t, precedes("9-9", "9-9"))
	assert.False(t, precedes("10-0", "9-1"))
}

// An ack ends an entry of the retry queue only while its consumer holds it, and the queue stays when the
// group is destroyed. Elsewhere XACK ends an entry.
func TestCheck_retryQueue(t *testing.T) {
	t.Parallel()
	acked := seconds("D %d 0 1-0 1 0-1, A %d 0 1-0, T %d 0 1-0", 1, 1.1, 3.3)
	again := seconds("D %d 0 1-0 2 0-1, A %d 0 1-0, T %d 0 1-0", 4.5, 4.6, 4.7)
	down := []span{{int64(1200 * time.Millisecond), int64(3200 * time.Millisecond)}}
	longAgo := []span{{-int64(20 * time.Second), -int64(19 * time.Second)}}
	published := func(h *history) { h.published["0-1"].tried = -int64(30 * time.Second) }
	loose, strict := group{Name: "loose", MaxInFlight: 1, Retries: true}, group{Name: "strict", MaxInFlight: 1}
	for name, c := range map[string]struct {
		story
		unexplained int
	}{
		"the server was down":         {story: story{group: loose, troubles: down}},
		"nothing happened":            {story: story{group: loose}, unexplained: 1},
		"destroyed long before":       {story: story{group: loose, destroyed: longAgo, change: published}},
		"destroyed before, strict":    {story: story{group: strict, destroyed: longAgo, change: published}, unexplained: 1},
		"the server was down, strict": {story: story{group: strict, troubles: down}, unexplained: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.journals = map[string]string{"a": acked, "b": again}
			assert.Len(t, c.verdict(t).unexplained, c.unexplained)
		})
	}
}
