package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

var atMostOnce = group{Name: "once", MaxInFlight: 1, AutoAck: true}

func TestCheck_twiceWhereAtMostOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		story
		a, b string
		why  reason
	}{
		"nothing happened":     {a: ackedByA, b: againByB},
		"killed":               {a: heldByA, b: againByB, story: story{killed: map[string]int64{"a": 12}}},
		"closed":               {a: heldByA + aClosesAt13, b: againByB},
		"did not run":          {a: heldByA + ", P 18 -1 12", b: againByB},
		"the server was down":  {a: heldByA, b: againByB, story: story{troubles: []span{{14, 18}}}},
		"the clock jumped":     {a: heldByA, b: againByB, story: story{change: func(h *history) { h.jumps = []span{{14, 15}} }}},
		"destroyed":            {a: heldByA, b: againByB, story: story{destroyed: []span{{14, 15}}}, why: wasDestroyed},
		"read, then destroyed": {a: heldByA, b: againByB, story: story{destroyed: []span{{5, 6}}}, why: wasDestroyed},
		"destroyed, then published": {a: heldByA, b: againByB, story: story{destroyed: []span{{5, 6}}, change: func(h *history) {
			h.published["0-1"].tried = 7
		}}},
		"destroyed long before": {a: heldByA, b: againByB, story: story{destroyed: []span{{-int64(2 * heldAtMost), -int64(2*heldAtMost) + 1}}, change: func(h *history) {
			h.published["0-1"].tried = -int64(3 * heldAtMost)
		}}},
		"destroyed, but later":   {a: heldByA, b: againByB, story: story{destroyed: []span{{24, 25}}}},
		"twice in one, no nack":  {a: ackedByA + ", D 20 0 1-0 1 0-1, A 21 0 1-0"},
		"nacked, then elsewhere": {a: heldByA + ", N 11 0 1-0", b: againByB},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.group, c.journals = atMostOnce, map[string]string{"a": c.a, "b": c.b}
			v := c.verdict(t)
			if c.why == noReason {
				assert.Len(t, v.unexplained, 1, "%+v", v)
				return
			}
			assert.True(t, v.ok(), "%+v", v)
			assert.Equal(t, 1, v.duplicates[c.why]+v.takenOver[c.why])
		})
	}
	v := story{group: atMostOnce, journals: one(heldByA + ", N 11 0 1-0, D 12 0 1-0 2 0-1, A 13 0 1-0")}.verdict(t)
	assert.True(t, v.ok(), "a nacked message is redelivered by the same subscription: %+v", v)
}

func TestCheck_missedWhereAtMostOnce(t *testing.T) {
	t.Parallel()
	slowReads := func(h *history) { h.process("b").readTimeout = slowTimeout }
	const second = "D 20 0 2-0 1 0-2, A 21 0 2-0" // its successor: the entry was handed out before it
	for name, c := range map[string]struct {
		story
		b   string
		why reason
	}{
		"nothing happened":                {},
		"killed":                          {story: story{killed: map[string]int64{"b": 12}}, why: wasKilled},
		"killed while it was held":        {story: story{killed: map[string]int64{"b": 4_000_000_000}}, why: wasKilled},
		"killed long after":               {story: story{killed: map[string]int64{"b": 9_000_000_000}}},
		"killed just before":              {story: story{killed: map[string]int64{"b": -1}}, why: wasKilled},
		"killed before":                   {story: story{killed: map[string]int64{"b": -int64(late) - 1}}},
		"closed":                          {b: "C 12 -1, E 13 -1", why: wasClosed},
		"closed before":                   {b: "C -12 -1, E -10 -1"},
		"a read failed":                   {b: "F 12 0, W 13 0", why: wasFailure},
		"a read failed a moment later":    {b: "F 22 0, W 23 0", why: wasFailure},
		"a read timed out":                {b: "F 900000000 0, W 900000001 0", why: wasFailure},
		"a slow read timed out":           {b: "F 3900000000 0, W 3900000001 0", story: story{change: slowReads}, why: wasFailure},
		"a read failed, but later":        {b: "F 1100000000 0, W 1100000001 0"},
		"a slow read failed, but later":   {b: "F 4100000000 0, W 4100000001 0", story: story{change: slowReads}},
		"did not run, then a read failed": {b: "P 5000000000 -1 12, F 5500000000 0, W 5500000001 0", why: wasFailure},
		"did not run, failed long after":  {b: "P 5000000000 -1 12, F 6000000001 0, W 6000000002 0"},
		"did not run later":               {b: "P 6000000000 -1 4100000000, F 6000000001 0, W 6000000002 0"},
		"the server was down":             {story: story{troubles: []span{{12, 13}}}}, // then reads fail
		"it was destroyed":                {story: story{destroyed: []span{{12, 13}}}},
		"the clock jumped":                {story: story{change: func(h *history) { h.jumps = []span{{12, 13}} }}},
		"its process was only cut":        {story: story{change: func(h *history) { h.process("b").cuts = []span{{12, 13}} }}},
		"another process did not run":     {b: "P 18 -1 12"},
		"a handler had it and was killed": {b: "D 12 0 1-0 1 0-1", story: story{killed: map[string]int64{"b": 13}}, why: "had it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.group, c.entries, c.journals = atMostOnce, 2, map[string]string{"a": second, "b": c.b}
			v := c.verdict(t)
			if c.why == noReason {
				assert.Len(t, v.lost, 1, "%+v", v)
				assert.False(t, v.ok())
				return
			}
			assert.True(t, v.ok(), "%+v", v)
			if c.why != "had it" {
				assert.Equal(t, 1, v.missed[c.why], "%+v", v)
			}
		})
	}
}
