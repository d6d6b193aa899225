package main

import (
	"fmt"
	"slices"
)

// memberDeadLetter is a dead letter of a stream.
type memberDeadLetter struct {
	deadLetter

	stream string
}

// checkDeadLetters checks that an entry became a dead letter once, after MaxDeliveries deliveries, and
// that no handler acknowledged it before or got it afterwards.
func (h *memberHistory) checkDeadLetters(v *memberVerdict, s *ownedStream) {
	handlings := map[string][]*handling{}
	for _, o := range s.owners {
		for _, one := range o.handlings {
			handlings[one.Entry] = append(handlings[one.Entry], one)
			if one.Deliveries > memberDeliveries {
				v.letters = append(v.letters, one.String()+": it is no dead letter yet")
			}
		}
	}
	there := map[string]bool{}
	for _, l := range h.letters {
		if l.group != s.group || l.stream != s.stream {
			continue
		}
		found := h.wrong(l, handlings[l.id])
		if there[l.id] {
			found = append(found, "was there already")
		}
		there[l.id] = true
		for _, what := range found {
			v.letters = append(v.letters, fmt.Sprintf("group %s, %s, entry %s: a dead letter at %s %s", l.group, l.stream, l.id, clock(l.at), what))
		}
	}
}

// wrong returns what is wrong with a dead letter.
func (h *memberHistory) wrong(l memberDeadLetter, handlings []*handling) (found []string) {
	if l.deliveries < memberDeliveries {
		found = append(found, fmt.Sprintf("counts only %d deliveries", l.deliveries))
	}
	var last *handling
	for _, one := range handlings {
		if one.At > l.at {
			if !h.disturbedAny(l.at, one.At) {
				found = append(found, "was handled again: "+one.String())
			}
			continue
		}
		if one.settled() && !one.stale && one.ended <= l.at && !h.disturbed(one.process, one.ended, l.at) && !overlaps(h.busy, one.ended, l.at) {
			found = append(found, "was acknowledged before: "+one.String())
		}
		if last == nil || one.Deliveries > last.Deliveries {
			last = one
		}
	}
	if last != nil && last.Deliveries < memberDeliveries && !h.disturbedAny(last.At, l.at) {
		found = append(found, "came too early; the last handler was "+last.String())
	}
	return found
}

// disturbedAny reports whether any process was disturbed, or the machine was too busy, in this time.
// Then a delivery may count that no handler got.
func (h *memberHistory) disturbedAny(from, to int64) bool {
	return overlaps(h.busy, from, to) ||
		slices.ContainsFunc(h.processes, func(p *memberProcess) bool { return h.disturbed(p, from, to) })
}
