package main

import (
	"fmt"
	"time"
)

// memberVerdict has the findings and figures of the checker.
type memberVerdict struct {
	lost      []string // published, and neither acknowledged nor dead-lettered
	disorder  []string // handled before a predecessor of its key was settled, or after a successor
	twoOwners []string // handlers of two generations at a time without a reason, or what a former owner settled
	again     []string // handled again after an ack without a reason
	committed []string // committed twice, not at all, or out of order
	letters   []string // dead letters that came too early or twice, or after an ack
	late      []string // gaps are too long
	failures  []string

	handled, commits, generations, repeated, overlaps int

	longestOverlap time.Duration
	gaps           map[string][]time.Duration
	ignoredGaps    map[string]int // a server was down, or the machine was too busy
}

func (v *memberVerdict) result() string {
	for _, list := range [][]string{v.lost, v.disorder, v.twoOwners, v.again, v.committed, v.letters, v.late, v.failures} {
		if len(list) > 0 {
			return fmt.Sprintf("FAIL: %d lost, %d out of order, %d of two owners, %d handled again, %d commits wrong, "+
				"%d dead letters wrong, %d gaps too long, %d other failures",
				len(v.lost), len(v.disorder), len(v.twoOwners), len(v.again), len(v.committed), len(v.letters), len(v.late), len(v.failures))
		}
	}
	return "PASS"
}

// check judges the run.
func (h *memberHistory) check() *memberVerdict {
	v := &memberVerdict{gaps: map[string][]time.Duration{}, ignoredGaps: map[string]int{}}
	streams := h.streams()
	settled := map[handlerKey]bool{}
	for _, s := range streams {
		v.generations += len(s.owners)
		for _, o := range s.owners {
			v.handled += len(o.handlings)
			for _, one := range o.handlings {
				settled[one.handlerKey()] = settled[one.handlerKey()] || one.settled() && !one.stale
			}
		}
		h.checkOrder(v, s)
		h.checkOwners(v, s)
		h.checkCommits(v, s)
	}
	h.busy = busy(streams)
	for _, s := range streams {
		h.findGaps(v, s)
		h.checkDeadLetters(v, s)
	}
	for _, m := range h.published {
		for _, g := range memberGroups {
			key := handlerKey{g.name, m.key, m.number}
			if g.topic == m.topic && m.doneAt != 0 && !settled[key] && !h.dead[key] {
				v.lost = append(v.lost, fmt.Sprintf("group %s: key %s, number %d, published at %s", g.name, m.key, m.number, clock(m.doneAt)))
			}
		}
	}
	h.checkGaps(v)
	return v
}
