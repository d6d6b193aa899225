package main

import (
	"fmt"
	"slices"
	"time"
)

// deadLetteredWithin bounds how long after the time in it a dead letter is written. The script is
// repeated when a connection breaks.
const deadLetteredWithin = 5 * time.Second

// deadLettersOf returns the dead letters of a group by entry, in order of time.
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

// checkUnknownDeadLetters finds dead letters whose entry is not in the stream or holds another
// message, and dead letters of groups without a delivery limit.
func (h *history) checkUnknownDeadLetters(v *verdict) {
	v.deadLettered = len(h.deadLetters)
	uuids := h.uuids()
	for _, l := range h.deadLetters {
		gives := slices.ContainsFunc(h.groups, func(g group) bool { return g.Name == l.group && g.MaxDeliveries > 0 && !g.AutoAck })
		if uuid, there := uuids[l.id]; !there || uuid != l.uuid || !gives {
			v.deadLetters = append(v.deadLetters, fmt.Sprintf("entry %s (%s) in group %s: dead-lettered, but the entry holds %q", l.id, l.uuid, l.group, uuid))
		}
	}
}

// checkDeadLetters checks that an entry was dead-lettered once, after exactly MaxDeliveries
// deliveries.
func (h *history) checkDeadLetters(v *verdict, f *fates, e entry) {
	if f.MaxDeliveries == 0 || f.AutoAck {
		return
	}
	deadLetters, list := f.deadLetters[e.id], f.byID[e.id]
	complain := func(text string) {
		v.deadLetters = append(v.deadLetters, fmt.Sprintf("entry %s (%s) in group %s, delivered %d times, %d dead letters: %s",
			e.id, e.uuid, f.Name, len(list), len(deadLetters), text))
	}
	destroyed := h.destroyed[f.Name]
	for i, l := range deadLetters {
		if i > 0 && !overlaps(destroyed, deadLetters[i-1].at, l.at) {
			complain("dead-lettered again without a reason")
		}
		if seen := f.seen(e, h.triedAt(e.uuid), l.at); seen < f.MaxDeliveries {
			complain(fmt.Sprintf("dead-lettered at %s, but handlers got it at most %d times", clock(l.at), seen))
		}
		if l.deliveries < int64(f.MaxDeliveries) {
			complain(fmt.Sprintf("the dead letter counts only %d deliveries", l.deliveries))
		}
	}
	if len(list) > f.MaxDeliveries && !h.uncounted(f, list) {
		complain("delivered more often than MaxDeliveries")
	}
}

// seen returns how often handlers may have got an entry until a time, by the server's count. The
// server counts a delivery before it is made. A process that was killed in between, had lost the
// entry, or could not take the count back at Close, did not make it, unless another of its deliveries
// of the entry was open.
func (f *fates) seen(e entry, since, until int64) (n int) {
	for _, d := range f.byID[e.id] {
		if d.at <= until {
			n++
		}
	}
	handed := max(since, never+int64(late)) - int64(late) // the server may hand out entries to a killed process for a moment
	for _, s := range f.members {
		open := slices.ContainsFunc(f.byID[e.id], func(d *delivery) bool { return d.sub == s && d.end == 0 })
		lostAt, isLost := s.lost[e.id]
		unmade := isLost && lostAt <= until || s.process.killedIn(handed, until) || overlaps(s.still, since, until) ||
			overlaps(s.process.storms, since, until) || overlaps(s.process.cuts, since, until) || s.gaveUpClosing(since, until)
		if !open && unmade {
			n++
		}
	}
	return n
}

// closeGrace is how much longer than CloseTimeout Close may take. Then it gives up what it has not
// released.
const closeGrace = 900 * time.Millisecond

// gaveUpClosing reports whether the subscription was closed in a time, and the server did not answer
// in time.
func (s *subscription) gaveUpClosing(since, until int64) bool {
	return s.closing != (span{}) && overlaps([]span{s.closing}, since, until) && s.closing.to-s.closing.from >= int64(closeTimeout+closeGrace)
}

// uncounted reports whether the server may have lost the count of an entry's deliveries, or may not
// have got it.
func (h *history) uncounted(f *fates, list []*delivery) bool {
	from, to := max(list[0].at-f.heldAtMost(), h.triedAt(list[0].uuid)), list[len(list)-1].at // when it may have been read
	if overlaps(h.destroyed[f.Name], from, to) || overlaps(h.troubles, from, to) {
		return true
	}
	return slices.ContainsFunc(list, func(d *delivery) bool {
		return overlaps(d.sub.process.storms, d.at, to) || overlaps(d.sub.process.cuts, d.at, to) || overlaps(d.sub.still, from, to)
	})
}
