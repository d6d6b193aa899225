package main

import (
	"fmt"
	"slices"
	"time"
)

// deadLetteredWithin is how long after the time that it bears a dead letter is written at the latest: the script is tried again
// when a connection breaks.
const deadLetteredWithin = 5 * time.Second

// deadLettersOf returns the dead letters of a group by entry, each entry's in the order of time.
func (h *history) deadLettersOf(g group) map[string][]deadLetter {
	byID := map[string][]deadLetter{}
	for _, l := range h.deadLetters {
		if l.group == g.Name {
			byID[l.id] = append(byID[l.id], l)
		}
	}
	for _, deadLetters := range byID {
		slices.SortFunc(deadLetters, func(a, b deadLetter) int { return int(a.at - b.at) })
	}
	return byID
}

// checkUnknownDeadLetters finds deadLetters of entries that are not in the stream, or hold another message, and dead letters of groups that give
// nothing up.
func (h *history) checkUnknownDeadLetters(v *verdict) {
	v.deadLettered = len(h.deadLetters)
	uuids := make(map[string]string, len(h.entries))
	for _, e := range h.entries {
		uuids[e.id] = e.uuid
	}
	for _, l := range h.deadLetters {
		gives := slices.ContainsFunc(h.groups, func(g group) bool { return g.Name == l.group && g.MaxDeliveries > 0 && !g.AutoAck })
		if uuid, there := uuids[l.id]; !there || uuid != l.uuid || !gives {
			v.deadLetters = append(v.deadLetters, fmt.Sprintf("entry %s (%s) in group %s: dead-lettered, and the entry holds %q", l.id, l.uuid, l.group, uuid))
		}
	}
}

// checkDeadLetters checks that an entry was given up once, after as many deliveries as it may have and no fewer, and that it was not
// delivered more often.
func (h *history) checkDeadLetters(v *verdict, f *fates, e entry) {
	if f.MaxDeliveries == 0 || f.AutoAck {
		return
	}
	deadLetters, list := f.deadLetters[e.id], f.byID[e.id]
	complain := func(text string) {
		v.deadLetters = append(v.deadLetters, fmt.Sprintf("entry %s (%s) in group %s, delivered %d times, %d letters: %s",
			e.id, e.uuid, f.Name, len(list), len(deadLetters), text))
	}
	destroyed := h.destroyed[f.Name]
	for i, l := range deadLetters {
		if i > 0 && !overlaps(destroyed, deadLetters[i-1].at, l.at) {
			complain("given up again, and nothing that happened allows it")
		}
		if seen := f.seen(e, h.triedAt(e.uuid), l.at); seen < f.MaxDeliveries {
			complain(fmt.Sprintf("given up at %s, and handlers saw it %d times at most", clock(l.at), seen))
		}
		if l.deliveries < int64(f.MaxDeliveries) {
			complain(fmt.Sprintf("given up after %d deliveries, as the letter says", l.deliveries))
		}
	}
	if len(list) > f.MaxDeliveries && !h.uncounted(f, list) {
		complain("delivered more often than it may be")
	}
}

// seen is how often handlers may have seen an entry until a time, as far as the server knows: a delivery is counted before it is
// made. A process that was killed in between, or lost the entry before, did not make it, unless another
// delivery of the entry was open there.
func (f *fates) seen(e entry, since, until int64) (n int) {
	for _, d := range f.byID[e.id] {
		if d.at <= until {
			n++
		}
	}
	for _, s := range f.members {
		open := slices.ContainsFunc(f.byID[e.id], func(d *delivery) bool { return d.sub == s && d.end == 0 })
		lostAt, isLost := s.lost[e.id]
		unmade := isLost && lostAt <= until || s.process.killedIn(since, until) || overlaps(s.still, since, until) ||
			overlaps(s.process.storms, since, until) || overlaps(s.process.cuts, since, until)
		if !open && unmade {
			n++
		}
	}
	return n
}

// uncounted reports whether the count of an entry's deliveries may have been lost: the group began again, or the server could not be told.
func (h *history) uncounted(f *fates, list []*delivery) bool {
	from, to := max(list[0].at-f.heldAtMost(), h.triedAt(list[0].uuid)), list[len(list)-1].at // read before
	if overlaps(h.destroyed[f.Name], from, to) || overlaps(h.troubles, from, to) {
		return true
	}
	return slices.ContainsFunc(list, func(d *delivery) bool {
		return overlaps(d.sub.process.storms, d.at, to) || overlaps(d.sub.process.cuts, d.at, to) || overlaps(d.sub.still, from, to)
	})
}
