package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

var limited = group{Name: "limited", MaxInFlight: 4, MaxDeliveries: 2}

// deadLetteredAt adds dead letters of entry 1-0 with these times, each after two deliveries.
func deadLetteredAt(times ...int64) func(h *history) {
	return func(h *history) {
		for _, at := range times {
			h.deadLetters = append(h.deadLetters, deadLetter{group: "limited", id: "1-0", uuid: "0-1", deliveries: 2, at: at})
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
			deadLetteredAt(14)(h)
			change(&h.deadLetters[0])
		}
	}
	for name, c := range map[string]struct {
		story
		journal string
		wrong   int // findings about dead letters
		lost    int
	}{
		"dead-lettered":                                  {journal: twice, story: story{change: deadLetteredAt(14)}},
		"neither dead-lettered nor acked":                {journal: twice, lost: 1},
		"dead-lettered too early":                        {journal: once, story: story{change: deadLetteredAt(14)}, wrong: 1},
		"dead-lettered, never delivered":                 {story: story{change: deadLetteredAt(14)}, wrong: 1},
		"dead-lettered before the last one":              {journal: twice, story: story{change: deadLetteredAt(11)}, wrong: 1},
		"dead-lettered, counts one":                      {journal: twice, story: story{change: changed(func(l *deadLetter) { l.deliveries = 1 })}, wrong: 1},
		"dead-lettered, another message":                 {journal: twice, story: story{change: changed(func(l *deadLetter) { l.uuid = "0-9" })}, wrong: 1},
		"dead-lettered, an unknown entry":                {journal: once + ack, story: story{change: changed(func(l *deadLetter) { l.id = "9-0" })}, wrong: 1},
		"dead-lettered by an unknown group":              {journal: twice, story: story{change: changed(func(l *deadLetter) { l.group = "strict" })}, wrong: 1, lost: 1},
		"dead-lettered twice":                            {journal: twice, story: story{change: deadLetteredAt(14, 20)}, wrong: 1},
		"dead-lettered twice, destroyed":                 {journal: twice, story: story{change: deadLetteredAt(14, 20), destroyed: []span{{15, 16}}}},
		"dead-lettered twice, destroyed late":            {journal: twice, story: story{change: deadLetteredAt(14, 20), destroyed: []span{{21, 22}}}, wrong: 1},
		"one delivery more":                              {journal: twice + ack, wrong: 1},
		"one delivery more, destroyed":                   {journal: twice + ack, story: story{destroyed: []span{{11, 12}}}},
		"one delivery more, it was read, then destroyed": {journal: twice + ack, story: story{destroyed: []span{{5, 6}}}},
		"one delivery more, destroyed before":            {journal: twice + ack, story: story{destroyed: []span{{-6, -5}}}, wrong: 1},
		"one delivery more, server down":                 {journal: twice + ack, story: story{troubles: []span{{11, 12}}}},
		"one more, connections cut":                      {journal: twice + ack, story: story{change: func(h *history) { h.process("a").cuts = []span{{11, 12}} }}},
		"one more, cut long before":                      {journal: twice + ack, story: story{change: func(h *history) { h.process("a").cuts = []span{{1, 2}} }}, wrong: 1},
		"delivered to a process whose Close gave up": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": "C 12 -1, E 1400000012 -1"}},
		},
		"delivered to a process whose Close was in time": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": "C 12 -1, E 1300000012 -1"}}, wrong: 1,
		},
		"delivered to a killed process": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": ""}, killed: map[string]int64{"b": 12}},
		},
		"published just after a process was killed": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": ""}, killed: map[string]int64{"b": -1}},
		},
		"published long after a process was killed": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": ""}, killed: map[string]int64{"b": -200000000}}, wrong: 1,
		},
		"counted, then connection cut": {
			journal: once, story: story{journals: map[string]string{"b": ""}, change: func(h *history) {
				deadLetteredAt(14)(h)
				h.process("b").cuts = []span{{11, 12}}
			}},
		},
		"connection cut after it was dead-lettered": {
			journal: once, story: story{journals: map[string]string{"b": ""}, change: func(h *history) {
				deadLetteredAt(14)(h)
				h.process("b").cuts = []span{{16, 17}}
			}}, wrong: 1,
		},
		"stopped after it was dead-lettered": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": "P 18 -1 16"}}, wrong: 1,
		},
		"counted, then process stopped": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": "P 13 -1 11"}},
		},
		"counted, then entry lost": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": "L 13 0 1-0"}},
		},
		"lost after it was dead-lettered": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": "L 16 0 1-0"}}, wrong: 1,
		},
		"delivered to a process that is killed later": {
			journal: once, story: story{change: deadLetteredAt(14), journals: map[string]string{"b": ""}, killed: map[string]int64{"b": 16}}, wrong: 1,
		},
		"killed during its delivery": {
			journal: "D 10 0 1-0 1 0-1", story: story{change: deadLetteredAt(14), killed: map[string]int64{"a": 12}}, wrong: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.group = limited
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
	s := story{group: limited, change: deadLetteredAt(14), journals: journals("D 9000000001 0 1-0 3 0-1, A 9000000002 0 1-0")}
	assert.Len(t, s.verdict(t).unexplained, 1, "the dead letter was written long before")
}

func TestCheck_deadLetterBeforeItsGroupWasDestroyed(t *testing.T) {
	t.Parallel()
	s := story{group: limited, change: deadLetteredAt(14, 9000000030), destroyed: []span{{20, 21}}, killed: map[string]int64{"b": 9000000005}}
	s.journals = map[string]string{
		"a": "D 10 0 1-0 1 0-1, N 11 0 1-0, D 12 0 1-0 2 0-1, N 13 0 1-0",
		"b": "D 9000000001 0 1-0 1 0-1, N 9000000002 0 1-0",
		"c": "D 9000000010 0 1-0 2 0-1, N 9000000011 0 1-0",
	}
	v := s.verdict(t)
	assert.True(t, v.ok(), "dead letters of the old group do not count in the new one: %+v", v)
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
	s := story{group: group{Name: "limited", MaxInFlight: 1, MaxDeliveries: 2}, entries: 2, change: deadLetteredAt(14)}
	s.journals = one(twice + successor)
	assert.True(t, s.verdict(t).ok(), "its successor comes after it was dead-lettered")
	s.change = deadLetteredAt(17)
	assert.Empty(t, s.verdict(t).disorder, "its successor does not wait while dead-lettering fails")
	s.change = nil
	s.journals = one(once + successor + later)
	assert.Len(t, s.verdict(t).disorder, 1, "it was below the delivery limit")
}
