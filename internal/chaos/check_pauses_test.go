package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// seconds returns a journal in which %d stands for a time in s.
func seconds(format string, times ...float64) string {
	args := make([]any, len(times))
	for i, t := range times {
		args[i] = int64(t * float64(time.Second))
	}
	return fmt.Sprintf(format, args...)
}

func spanOf(from, to float64) span {
	return span{int64(from * float64(time.Second)), int64(to * float64(time.Second))}
}

func TestCheck_deliveredInAPause(t *testing.T) {
	t.Parallel()
	group := []span{spanOf(10, 15)}
	at := func(s float64) map[string]string {
		return one(seconds("D %d 0 1-0 1 0-1, A %d 0 1-0", s, s+0.1))
	}
	local := func(s float64) map[string]string {
		return one(seconds("U %d 0, V %d 0, ", 10, 10.5) + at(s)["a"] + seconds(", R %d 0", 15))
	}
	process := func(change func(p *processHistory)) func(h *history) {
		return func(h *history) { change(h.process("a")) }
	}
	for name, c := range map[string]struct {
		story
		found int
	}{
		"before the group is paused":     {story: story{paused: group, journals: at(9)}},
		"before members have to know":    {story: story{paused: group, journals: at(12.4)}},
		"while the group is paused":      {story: story{paused: group, journals: at(13)}, found: 1},
		"after the group's pause":        {story: story{paused: group, journals: at(15.1)}},
		"over a slow link":               {story: story{paused: group, journals: at(13), change: process(func(p *processHistory) { p.readTimeout = slowTimeout })}},
		"late over a slow link":          {story: story{paused: group, journals: at(14.5), change: process(func(p *processHistory) { p.readTimeout = slowTimeout })}, found: 1},
		"the server was down":            {story: story{paused: group, journals: at(13), troubles: []span{spanOf(11, 12)}}},
		"the server was down before":     {story: story{paused: group, journals: at(13), troubles: []span{spanOf(8, 9)}}, found: 1},
		"the connections hung":           {story: story{paused: group, journals: at(13), change: process(func(p *processHistory) { p.storms = []span{spanOf(11, 12)} })}},
		"the connections were cut":       {story: story{paused: group, journals: at(13), change: process(func(p *processHistory) { p.cuts = []span{spanOf(11, 12)} })}},
		"the process was stopped":        {story: story{paused: group, journals: one(at(13)["a"] + seconds(", P %d -1 %d", 12.9, 10.1))}},
		"the process was stopped before": {story: story{paused: group, journals: one(seconds("P %d -1 %d, ", 9, 8) + at(13)["a"])}, found: 1},
		"reads failed":                   {story: story{paused: group, journals: one(seconds("F %d 0, W %d 0, ", 11, 12) + at(13)["a"])}},
		"another group is paused": {story: story{journals: at(13), change: func(h *history) {
			h.paused = map[string][]groupPause{"other": {{group[0], group[0]}}}
		}}},

		"before the subscription is paused":  {story: story{journals: local(9)}},
		"during the call of Pause":           {story: story{journals: local(10.4)}},
		"as Pause returns":                   {story: story{journals: local(10.9)}},
		"while the subscription is paused":   {story: story{journals: local(11.1)}, found: 1},
		"at the end of its pause":            {story: story{journals: local(14.9)}, found: 1},
		"after its pause":                    {story: story{journals: local(15.1)}},
		"paused, and the process was killed": {story: story{journals: one(seconds("U %d 0, V %d 0, ", 10, 10.5) + at(100)["a"])}, found: 1},
		"another subscription is paused":     {story: story{journals: one(seconds("U %d 1, V %d 1, ", 10, 10.5) + at(11.1)["a"])}},
		"the paused process was stopped":     {story: story{journals: one(local(11.1)["a"] + seconds(", P %d -1 %d", 11.05, 10.4))}},
		"the server was down, local":         {story: story{journals: local(11.1), troubles: []span{spanOf(10, 11)}}, found: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := c.verdict(t)
			assert.Len(t, v.paused, c.found, "%+v", v)
			assert.Equal(t, c.found == 0, v.ok(), "%+v", v)
		})
	}
}

// What waits for a redelivery is released in a pause, and another member may get it. Nothing else
// is excused by a pause.
func TestCheck_releasedInAPause(t *testing.T) {
	t.Parallel()
	nackedByA, heldOnly := seconds("D %d 0 1-0 1 0-1, N %d 0 1-0", 10, 10.1), seconds("D %d 0 1-0 1 0-1", 10)
	second := seconds("D %d 0 2-0 1 0-2, A %d 0 2-0", 12, 12.1)
	againByB := seconds("D %d 0 1-0 2 0-1, A %d 0 1-0", 13, 13.1)
	local := seconds(", U %d 0, V %d 0, R %d 0, ", 10.2, 10.3, 11.8)
	during, earlier := []span{spanOf(10.2, 11.8)}, []span{spanOf(1, 2)}
	for name, c := range map[string]struct {
		a, b                  string
		paused                []span
		unexplained, disorder int
	}{
		"without a pause":        {a: nackedByA + ", " + second, b: againByB, unexplained: 1, disorder: 1},
		"the group was paused":   {a: nackedByA + ", " + second, b: againByB, paused: during},
		"long before":            {a: nackedByA + ", " + second, b: againByB, paused: earlier, unexplained: 1, disorder: 1},
		"A was paused":           {a: nackedByA + local + second, b: againByB},
		"B was paused":           {a: nackedByA + ", " + second, b: againByB + seconds(", U %d 0, V %d 0, R %d 0", 10.2, 10.3, 11.8), unexplained: 1, disorder: 1},
		"its handler had it":     {a: heldOnly + local + second, b: againByB, unexplained: 1, disorder: 1},
		"its handler acked it":   {a: seconds("D %d 0 1-0 1 0-1, A %d 0 1-0", 10, 10.1) + local + second, b: againByB, unexplained: 1},
		"A is alone":             {a: nackedByA + local + second + seconds(", D %d 0 1-0 2 0-1, A %d 0 1-0", 13, 13.1), disorder: 1},
		"B had read ahead":       {a: second + seconds(", D %d 0 1-0 1 0-1, A %d 0 1-0", 13, 13.1), b: "U 1 0, V 2 0, R 3 0", disorder: 0},
		"B had not been paused":  {a: second + seconds(", D %d 0 1-0 1 0-1, A %d 0 1-0", 13, 13.1), b: "N 1 0 9-0", disorder: 1},
		"A had read them itself": {a: "U 1 0, V 2 0, R 3 0, " + second + seconds(", D %d 0 1-0 1 0-1, A %d 0 1-0", 13, 13.1), b: "N 1 0 9-0", disorder: 1},
		"A was alone in a pause": {a: second + seconds(", D %d 0 1-0 1 0-1, A %d 0 1-0", 13, 13.1), paused: earlier, disorder: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := story{entries: 2, paused: c.paused, journals: one(c.a)}
			if c.b != "" {
				s.journals["b"] = c.b
			}
			v := s.verdict(t)
			assert.Len(t, v.unexplained, c.unexplained, "%+v", v)
			assert.Len(t, v.disorder, c.disorder, "%+v", v)
			assert.Empty(t, v.paused)
		})
	}
}
