package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

var giving = group{Name: "letters", MaxInFlight: 4, MaxDeliveries: 2}

// given adds dead letters of entry 1-0, given up at these times after two deliveries.
func given(times ...int64) func(h *history) {
	return func(h *history) {
		for _, at := range times {
			h.deadLetters = append(h.deadLetters, deadLetter{group: "letters", id: "1-0", uuid: "0-1", deliveries: 2, at: at})
		}
	}
}

func TestCheck_deadLetters(t *testing.T) {
	t.Parallel()
	const (
		once  = "D 10 0 1-0 1 0-1, N 11 0 1-0"
		twice = once + ", D 12 0 1-0 2 0-1, N 13 0 1-0"
		ack   = ", D 14 0 1-0 3 0-1, A 15 0 1-0"
	)
	changed := func(change func(l *deadLetter)) func(h *history) {
		return func(h *history) {
			given(14)(h)
			change(&h.deadLetters[0])
		}
	}
	for name, c := range map[string]struct {
		story
		journal string
		wrong   int // findings of dead letters
		lost    int
	}{
		"given up":                                       {journal: twice, story: story{change: given(14)}},
		"neither given up nor acked":                     {journal: twice, lost: 1},
		"given up too early":                             {journal: once, story: story{change: given(14)}, wrong: 1},
		"given up, never seen":                           {story: story{change: given(14)}, wrong: 1},
		"given up before the last one":                   {journal: twice, story: story{change: given(11)}, wrong: 1},
		"given up, says after one":                       {journal: twice, story: story{change: changed(func(l *deadLetter) { l.deliveries = 1 })}, wrong: 1},
		"given up, another message":                      {journal: twice, story: story{change: changed(func(l *deadLetter) { l.uuid = "0-9" })}, wrong: 1},
		"given up, an unknown entry":                     {journal: once + ack, story: story{change: changed(func(l *deadLetter) { l.id = "9-0" })}, wrong: 1},
		"given up by an unknown group":                   {journal: twice, story: story{change: changed(func(l *deadLetter) { l.group = "strict" })}, wrong: 1, lost: 1},
		"given up twice":                                 {journal: twice, story: story{change: given(14, 20)}, wrong: 1},
		"given up twice, destroyed":                      {journal: twice, story: story{change: given(14, 20), destroyed: []span{{15, 16}}}},
		"given up twice, destroyed late":                 {journal: twice, story: story{change: given(14, 20), destroyed: []span{{21, 22}}}, wrong: 1},
		"one delivery more":                              {journal: twice + ack, wrong: 1},
		"one delivery more, destroyed":                   {journal: twice + ack, story: story{destroyed: []span{{11, 12}}}},
		"one delivery more, it was read, then destroyed": {journal: twice + ack, story: story{destroyed: []span{{5, 6}}}},
		"one delivery more, destroyed before":            {journal: twice + ack, story: story{destroyed: []span{{-6, -5}}}, wrong: 1},
		"one delivery more, server away":                 {journal: twice + ack, story: story{troubles: []span{{11, 12}}}},
		"one more, connections cut":                      {journal: twice + ack, story: story{change: func(h *history) { h.process("a").cuts = []span{{11, 12}} }}},
		"one more, cut long before":                      {journal: twice + ack, story: story{change: func(h *history) { h.process("a").cuts = []span{{1, 2}} }}, wrong: 1},
		"seen by one who was killed": {
			journal: once, story: story{change: given(14), journals: map[string]string{"b": ""}, killed: map[string]int64{"b": 12}},
		},
		"counted by one who was then cut off": {
			journal: once, story: story{journals: map[string]string{"b": ""}, change: func(h *history) {
				given(14)(h)
				h.process("b").cuts = []span{{11, 12}}
			}},
		},
		"cut off after it was given up": {
			journal: once, story: story{journals: map[string]string{"b": ""}, change: func(h *history) {
				given(14)(h)
				h.process("b").cuts = []span{{16, 17}}
			}}, wrong: 1,
		},
		"stood still after it was given up": {
			journal: once, story: story{change: given(14), journals: map[string]string{"b": "P 18 -1 16"}}, wrong: 1,
		},
		"counted by one who then stood still": {
			journal: once, story: story{change: given(14), journals: map[string]string{"b": "P 13 -1 11"}},
		},
		"counted by one who then lost it": {
			journal: once, story: story{change: given(14), journals: map[string]string{"b": "L 13 0 1-0"}},
		},
		"lost after it was given up": {
			journal: once, story: story{change: given(14), journals: map[string]string{"b": "L 16 0 1-0"}}, wrong: 1,
		},
		"seen by one who was killed later": {
			journal: once, story: story{change: given(14), journals: map[string]string{"b": ""}, killed: map[string]int64{"b": 16}}, wrong: 1,
		},
		"killed while it was open": {
			journal: "D 10 0 1-0 1 0-1", story: story{change: given(14), killed: map[string]int64{"a": 12}}, wrong: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.group = giving
			if c.journals == nil {
				c.journals = map[string]string{}
			}
			c.journals["a"] = strings.TrimPrefix(c.journal, ", ")
			v := c.verdict(t)
			assert.Len(t, v.deadLetters, c.wrong, "%v", v.deadLetters)
			assert.Len(t, v.lost, c.lost)
			assert.Equal(t, c.wrong+c.lost == 0, v.ok(), "%+v", v)
		})
	}
}

func TestCheck_deliveredAfterDeadLetter(t *testing.T) {
	t.Parallel()
	journals := func(again string) map[string]string {
		return map[string]string{"a": "D 10 0 1-0 1 0-1, N 11 0 1-0, D 12 0 1-0 2 0-1, N 13 0 1-0", "b": "P 9000000000 -1 15, " + again}
	}
	s := story{group: giving, change: given(14), journals: journals("D 9000000001 0 1-0 3 0-1, A 9000000002 0 1-0")}
	assert.Len(t, s.verdict(t).unexplained, 1, "the letter was written long ago")
}

func TestCheck_deadLetterBeforeItsGroupWasDestroyed(t *testing.T) {
	t.Parallel()
	s := story{group: giving, change: given(14, 9000000030), destroyed: []span{{20, 21}}, killed: map[string]int64{"b": 9000000005}}
	s.journals = map[string]string{
		"a": "D 10 0 1-0 1 0-1, N 11 0 1-0, D 12 0 1-0 2 0-1, N 13 0 1-0",
		"b": "D 9000000001 0 1-0 1 0-1, N 9000000002 0 1-0",
		"c": "D 9000000010 0 1-0 2 0-1, N 9000000011 0 1-0",
	}
	v := s.verdict(t)
	assert.True(t, v.ok(), "the first letter says nothing of the new group: %+v", v)
	assert.Equal(t, 1, v.takenOver[wasDestroyed])
	assert.Equal(t, 1, v.takenOver[wasKilled])
}

func TestCheck_orderOfDeadLetters(t *testing.T) {
	t.Parallel()
	const (
		once      = "D 10 0 1-0 1 0-1, N 11 0 1-0"
		twice     = once + ", D 12 0 1-0 2 0-1, N 13 0 1-0"
		successor = ", D 15 0 2-0 1 0-2, A 16 0 2-0"
		later     = ", D 20 0 1-0 2 0-1, A 21 0 1-0"
	)
	s := story{group: group{Name: "letters", MaxInFlight: 1, MaxDeliveries: 2}, entries: 2, change: given(14)}
	s.journals = one(twice + successor)
	assert.True(t, s.verdict(t).ok(), "its successor comes when it is given up")
	s.change = given(17)
	assert.Empty(t, s.verdict(t).disorder, "nor does a letter that can't be written keep it waiting")
	s.change = nil
	s.journals = one(once + successor + later)
	assert.Len(t, s.verdict(t).disorder, 1, "it was not to be given up yet")
}
