package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// memberStory is a run on the topic without partitions. A line of a journal is the time in ms, what
// happened, the generation and the number of the message in key "k". Entry n-0 has message n. A message
// of another key has "other" behind the number of its entry. The number of the delivery may come last.
type memberStory struct {
	journals  map[string]string
	killed    map[string]int64 // ms
	dead      []int
	letters   string // "ms message deliveries" of each dead letter
	committed []string
	troubles  []span
	published int // each 10 ms after the last one; default 2
}

func (s memberStory) verdict(t *testing.T) *memberVerdict {
	t.Helper()
	const ms = int64(time.Millisecond)
	h := &memberHistory{
		lease: 2 * time.Second, troubles: s.troubles, dead: map[handlerKey]bool{},
		committed: map[[2]string][]string{{"exclusive", wholeTopic}: s.committed},
	}
	for n := 1; n <= max(s.published, 2); n++ {
		h.published = append(h.published, memberMessage{wholeTopic, "k", n, int64(n) * 10 * ms, int64(n) * 10 * ms})
	}
	for _, n := range s.dead {
		h.dead[handlerKey{"exclusive", "k", n}] = true
	}
	for text := range strings.SplitSeq(s.letters, ", ") {
		l, n := memberDeadLetter{deadLetter{group: "exclusive"}, wholeTopic}, 0
		if _, err := fmt.Sscan(text, &l.at, &n, &l.deliveries); err == nil {
			l.at, l.id = l.at*ms, fmt.Sprintf("%d-0", n)
			h.letters, h.dead[handlerKey{"exclusive", "k", n}] = append(h.letters, l), true
		}
	}
	for name, text := range s.journals {
		p := &memberProcess{name: name, killed: s.killed[name] * ms}
		for line := range strings.SplitSeq(text, ", ") {
			e := memberEvent{Group: "exclusive", Stream: wholeTopic, Key: "k"}
			line, other := strings.CutSuffix(line, " other")
			what := ""
			_, err := fmt.Sscan(line, &e.At, &what, &e.Generation, &e.Number)
			require.NoError(t, err, line)
			if fields := strings.Fields(line); len(fields) > 4 {
				e.Deliveries = int64(numberOf(fields[4]))
			}
			switch e.Kind = memberEnds; what {
			case memberOwns, memberBegins:
				e.Kind = what
			case memberStood: // the generation is when it began
				e = memberEvent{Kind: memberStood, At: e.At, From: e.Generation * ms}
			default:
				e.Outcome = what
			}
			e.At *= ms
			e.Entry = fmt.Sprintf("%d-0", e.Number)
			if other { // the first message of another key
				e.Key, e.Number = "l", 1
			}
			p.events = append(p.events, e)
		}
		h.processes = append(h.processes, p)
	}
	return h.check()
}

func TestMemberCheck_allWell(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]memberStory{
		"one owner":       {journals: one("100 begins 1 1, 101 nacked 1 1, 102 begins 1 1, 103 acked 1 1, 104 begins 1 2, 105 acked 1 2")},
		"the next one":    {journals: map[string]string{"a": "90 owns 1 0, 100 begins 1 1, 101 acked 1 1", "b": "190 owns 2 0, 200 begins 2 2, 201 acked 2 2"}},
		"a dead letter":   {journals: one("100 begins 1 1, 101 nacked 1 1, 104 begins 1 2, 105 acked 1 2"), dead: []int{1}},
		"its owner stood": {journals: map[string]string{"a": "100 begins 1 1, 5000 nacked 1 1, 5000 stood 100 0", "b": "3000 begins 2 2, 3001 acked 2 2"}, dead: []int{1}},
		"killed before its ack was sent": {
			journals: map[string]string{"a": "100 begins 1 1, 101 acked 1 1", "b": "2200 begins 2 1, 2201 acked 2 1, 2202 begins 2 2, 2203 acked 2 2"},
			killed:   map[string]int64{"a": 102},
		},
		"stood still in a handler": {journals: map[string]string{
			"a": "100 begins 1 1, 5000 stood 100 0, 5001 acked 1 1",
			"b": "2200 begins 2 1, 2201 acked 2 1, 2202 begins 2 2, 2203 acked 2 2",
		}},
		"killed before it learnt of its commit": {
			journals: map[string]string{"a": "100 begins 1 1", "b": "2200 begins 2 2, 2201 acked 2 2"}, killed: map[string]int64{"a": 101},
			committed: []string{"k 1 1-0 1"},
		},
		"a commit": {
			journals: one("100 begins 1 1, 101 committed 1 1, 104 begins 1 2, 105 acked 1 2"), committed: []string{"k 1 1-0 1"},
		},
	} {
		v := s.verdict(t)
		assert.Equal(t, "PASS", v.result(), "%s: %+v", name, v)
	}
}

func TestMemberCheck_findsLost(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]memberStory{
		"never handled": {journals: one("100 begins 1 1, 101 acked 1 1")},
		"nacked only":   {journals: one("100 begins 1 1, 101 acked 1 1, 104 begins 1 2, 105 nacked 1 2")},
		"acked by a former owner": {journals: map[string]string{
			"a": "100 begins 1 1, 101 acked 1 1, 102 begins 1 2, 5000 stood 102 0, 5001 acked 1 2", "b": "2200 begins 2 3, 2201 acked 2 3",
		}, published: 3},
	} {
		assert.NotEmpty(t, s.verdict(t).lost, name)
	}
}

func TestMemberCheck_findsDisorder(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]memberStory{
		"overtaken":            {journals: one("100 begins 1 2, 101 acked 1 2, 102 begins 1 1, 103 acked 1 1")},
		"overtaken by a nack":  {journals: one("100 begins 1 1, 101 nacked 1 1, 102 begins 1 2, 103 acked 1 2, 104 begins 1 1, 105 acked 1 1")},
		"two at a time":        {journals: one("100 begins 1 1, 102 begins 1 2, 103 acked 1 1, 104 acked 1 2")},
		"back in a generation": {journals: one("100 begins 1 1, 101 acked 1 1, 102 begins 1 2, 103 acked 1 2, 104 begins 1 1, 105 acked 1 1")},
		"the next owner overtakes": {journals: map[string]string{
			"a": "100 begins 1 1, 5000 stood 100 0, 5001 acked 1 1", "b": "2200 begins 2 2, 2201 acked 2 2, 2202 begins 2 1, 2203 acked 2 1",
		}},
		"another key overtakes": {journals: one("100 begins 1 1, 101 nacked 1 1, 102 begins 1 2 other, 103 acked 1 2 other, 104 begins 1 1, 105 acked 1 1")},
		"another key overtakes at the next owner": {
			journals: map[string]string{"a": "100 begins 1 1", "b": "2200 begins 2 2 other, 2201 acked 2 2 other, 2202 begins 2 1, 2203 acked 2 1"},
			killed:   map[string]int64{"a": 101},
		},
		"before it was dead": {journals: one("100 begins 1 1, 101 nacked 1 1, 102 begins 1 2, 103 acked 1 2, 104 begins 1 1, 105 nacked 1 1"), dead: []int{1}},
	} {
		assert.NotEmpty(t, s.verdict(t).disorder, name)
	}
}

func TestMemberCheck_findsTwoOwners(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]memberStory{
		"two handlers": {journals: map[string]string{
			"a": "100 begins 1 1, 130 acked 1 1", "b": "120 begins 2 1, 122 acked 2 1, 123 begins 2 2, 124 acked 2 2",
		}},
		"a former owner begins": {journals: map[string]string{
			"a": "100 begins 1 1, 101 acked 1 1, 130 begins 1 2, 131 nacked 1 2", "b": "120 begins 2 2, 122 acked 2 2",
		}},
		"a former owner goes on for long after it stood still": {journals: map[string]string{
			"a": "100 begins 1 1, 5000 stood 100 0, 5001 acked 1 1, 20000 begins 1 1, 20001 nacked 1 1",
			"b": "2200 begins 2 1, 2201 acked 2 1, 2202 begins 2 2, 2203 acked 2 2",
		}},
		"its ack had an effect": {journals: map[string]string{
			"a": "100 begins 1 1, 5000 stood 100 0, 5001 acked 1 1", "b": "2200 begins 2 2, 2201 acked 2 2",
		}},
	} {
		assert.NotEmpty(t, s.verdict(t).twoOwners, name)
	}
}

func TestMemberCheck_findsRepetition(t *testing.T) {
	t.Parallel()
	journals := map[string]string{"a": "100 begins 1 1, 101 acked 1 1", "b": "200 begins 2 1, 201 acked 2 1, 204 begins 2 2, 205 acked 2 2"}
	assert.NotEmpty(t, memberStory{journals: journals}.verdict(t).again)
	ok := memberStory{journals: journals, troubles: []span{{150e6, 160e6}}}.verdict(t)
	assert.Empty(t, ok.again)
	assert.Equal(t, 1, ok.repeated)
}

func TestMemberCheck_findsWrongCommits(t *testing.T) {
	t.Parallel()
	journals := one("100 begins 1 1, 101 committed 1 1, 104 begins 1 2, 105 committed 1 2")
	for name, committed := range map[string][]string{
		"twice": {"k 1 1-0 1", "k 1 1-0 1", "k 2 2-0 1"}, "missing": {"k 1 1-0 1"}, "out of order": {"k 2 2-0 1", "k 1 1-0 1"}, "two entries": {"k 1 1-0 1", "k 1 3-0 1", "k 2 2-0 1"},
	} {
		assert.NotEmpty(t, memberStory{journals: journals, committed: committed}.verdict(t).committed, name)
	}
}

// Message 1 is nacked, and is a dead letter after four deliveries.
func TestMemberCheck_findsWrongDeadLetters(t *testing.T) {
	t.Parallel()
	const (
		four  = "100 begins 1 1 1, 101 nacked 1 1 1, 102 begins 1 1 2, 103 nacked 1 1 2, 104 begins 1 1 3, 105 nacked 1 1 3, 106 begins 1 1 4, 107 nacked 1 1 4, "
		three = "100 begins 1 1 1, 101 nacked 1 1 1, 102 begins 1 1 2, 103 nacked 1 1 2, 104 begins 1 1 3, 105 nacked 1 1 3, "
		acked = "100 begins 1 1 4, 101 acked 1 1 4, "
		two   = "120 begins 1 2 1, 121 acked 1 2 1"
	)
	down := []span{{103e6, 112e6}}
	for name, c := range map[string]struct {
		memberStory
		finds bool
	}{
		"after four":                    {memberStory{journals: one(four + two), letters: "110 1 4"}, false},
		"counts three":                  {memberStory{journals: one(four + two), letters: "110 1 3"}, true},
		"after three":                   {memberStory{journals: one(three + two), letters: "110 1 4"}, true},
		"after three, server down":      {memberStory{journals: one(three + two), letters: "110 1 4", troubles: down}, false},
		"after three, killed":           {memberStory{journals: one(three + two), letters: "110 1 4", killed: map[string]int64{"a": 108}}, false},
		"twice":                         {memberStory{journals: one(four + two), letters: "110 1 4, 112 1 4"}, true},
		"handled afterwards":            {memberStory{journals: one(four + "112 begins 1 1 4, 113 nacked 1 1 4, " + two), letters: "110 1 4"}, true},
		"of a message that was acked":   {memberStory{journals: one(acked + two), letters: "110 1 4"}, true},
		"of one, while server was down": {memberStory{journals: one(acked + two), letters: "110 1 4", troubles: down}, false},
		"never":                         {memberStory{journals: one(four + "108 begins 1 1 5, 109 acked 1 1 5, " + two)}, true},
	} {
		v := c.verdict(t)
		assert.Equal(t, c.finds, len(v.letters) > 0, "%s: %v", name, v.letters)
	}
}

// A run that has no gap of a kind shows nothing. If most of its gaps do not count, it says so.
func TestMemberCheck_gapsThatAreMissing(t *testing.T) {
	t.Parallel()
	leaving := []time.Duration{time.Millisecond}
	v := memberVerdict{gaps: map[string][]time.Duration{gapLeaving: leaving}, ignoredGaps: map[string]int{gapLeaving: 1}}
	v.checkGapsFound()
	assert.Equal(t, []string{"no gap after dying was found"}, v.failures)
	assert.NotContains(t, v.gapFigures(gapLeaving), "NOT SHOWN")
	v.ignoredGaps[gapLeaving]++
	assert.Contains(t, v.gapFigures(gapLeaving), "NOT SHOWN")
	v.failures, v.ignoredGaps[gapDying] = nil, 1
	v.checkGapsFound()
	assert.Empty(t, v.failures)
	assert.Contains(t, v.gapFigures(gapDying), "none; 1 do not count")
	assert.Contains(t, v.gapFigures(gapDying), "NOT SHOWN")
}

// Message 2 is published after 20 ms, and waits for the next owner.
func TestMemberCheck_gaps(t *testing.T) {
	t.Parallel()
	story := func(begins int) memberStory {
		return memberStory{journals: map[string]string{
			"a": "5 owns 1 0, 15 begins 1 1, 30 acked 1 1",
			"b": fmt.Sprintf("%d owns 2 0, %d begins 2 2, %d acked 2 2", begins-1, begins, begins+1),
		}}
	}
	killed := func(s memberStory) memberStory {
		s.killed = map[string]int64{"a": 35}
		return s
	}
	for name, c := range map[string]struct {
		memberStory
		kind string
		gap  int // ms
		late bool
	}{
		"leaving":           {story(1020), gapLeaving, 990, false},
		"leaving, too long": {story(1040), gapLeaving, 1010, true},
		"dying":             {killed(story(3030)), gapDying, 2995, false},
		"dying, too long":   {killed(story(3040)), gapDying, 3005, true},
	} {
		v := c.verdict(t)
		assert.Equal(t, []time.Duration{time.Duration(c.gap) * time.Millisecond}, v.gaps[c.kind], name)
		assert.Equal(t, c.late, len(v.late) > 0, name)
	}
	down := story(1040)
	down.troubles = []span{{900e6, 1000e6}}
	assert.Empty(t, down.verdict(t).gaps, "a server was down")
	slow := story(1040)
	slow.journals["a"] += ", 500 begins 1 1, 601 nacked 1 1, 610 begins 1 1, 611 acked 1 1"
	slow.journals["b"] = "1701 owns 2 0, 1702 begins 2 2, 1703 acked 2 2"
	assert.NotEmpty(t, slow.verdict(t).late, "before the gap")
	slow.journals["c"] = "800 begins 3 3, 901 acked 3 3"
	assert.Empty(t, slow.verdict(t).late, "the machine was too busy")
	idle := story(1040)
	idle.journals["b"] = "10 owns 2 0, 1040 begins 2 2, 1041 acked 2 2"
	assert.Empty(t, idle.verdict(t).gaps, "nothing waited when the owner changed")
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var list []time.Duration
	for i := range 200 {
		list = append(list, time.Duration(i+1))
	}
	assert.Equal(t, time.Duration(198), percentile(list, 99))
	assert.Equal(t, time.Duration(1), percentile(list[:1], 99))
	assert.Zero(t, percentile(nil, 99))
}
