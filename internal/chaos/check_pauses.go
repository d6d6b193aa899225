package main

import (
	"fmt"
	"time"
)

const (
	// pausedWithin is how soon all members of a group stop when it is paused, and go on afterwards.
	pausedWithin = 2 * time.Second
	// pauseSlack is how much later a delivery may be in a journal, because the process did not run at
	// once.
	pauseSlack = 500 * time.Millisecond
)

// localPause is a pause of one subscription.
type localPause struct {
	span // from the return of Pause until the call of Resume

	around span // it may have had an effect for that long
}

// localPauses returns the pauses in the journal of a subscription.
func localPauses(events []event) (list []localPause) {
	on := false
	for _, e := range events {
		last := len(list) - 1
		switch {
		case e.kind == pausing && !on:
			on = true
			list = append(list, localPause{span{forever, forever}, span{e.at, forever}})
		case e.kind == paused && on:
			list[last].from = e.at
		case e.kind == resuming && on:
			on = false
			list[last].to, list[last].around.to = e.at, e.at+int64(pausedWithin)
		}
	}
	return list
}

// wasPaused reports whether a pause of its group or its own may have had an effect on a subscription
// between two times.
func (h *history) wasPaused(s *subscription, from, to int64) bool {
	if h.groupWasPaused(s.group.Name, from, to) {
		return true
	}
	for _, p := range s.pauses {
		if overlaps([]span{p.around}, from, to) {
			return true
		}
	}
	return false
}

func (h *history) groupWasPaused(name string, from, to int64) bool {
	for _, p := range h.paused[name] {
		around := span{p.around.from, p.around.to + int64(pausedWithin)}
		if overlaps([]span{around}, from, to) {
			return true
		}
	}
	return false
}

// pausedFor bounds how much longer than usual a subscription held an entry because of pauses.
func (h *history) pausedFor(s *subscription, from, to int64) (longest int64) {
	for _, p := range h.paused[s.group.Name] {
		if overlaps([]span{p.around}, from, to) {
			longest += p.around.to - p.around.from + int64(pausedWithin)
		}
	}
	for _, p := range s.pauses {
		if overlaps([]span{p.around}, from, to) && p.around.to != forever {
			longest += p.around.to - p.around.from
		}
	}
	return longest
}

// checkPauses checks that a subscription delivered nothing while it was paused.
func (h *history) checkPauses(v *verdict, s *subscription) {
	for _, d := range s.deliveries() {
		for _, p := range h.paused[s.group.Name] {
			// A large reply may be under way over a slow link before the subscription looks again.
			within := int64(pausedWithin+pauseSlack) + int64(s.process.readTimeout)/2
			if p.from+within < d.at && d.at < p.to && !h.unaware(s, p.from, d.at) {
				v.paused = append(v.paused, fmt.Sprintf("entry %s (%s) in group %s: %s, but the group was paused %s to %s",
					d.id, d.uuid, s.group.Name, d, clock(p.from), clock(p.to)))
			}
		}
		for _, p := range s.pauses {
			if p.from != forever && p.from+int64(pauseSlack) < d.at && d.at < p.to && !overlaps(s.still, p.from, d.at) {
				v.paused = append(v.paused, fmt.Sprintf("entry %s (%s) in group %s: %s, but the subscription was paused %s to %s",
					d.id, d.uuid, s.group.Name, d, clock(p.from), clock(p.to)))
			}
		}
	}
}

// unaware reports whether a subscription may not have known of a pause of its group: it could not
// ask the server.
func (h *history) unaware(s *subscription, from, to int64) bool {
	return overlaps(s.still, from, to) || overlaps(s.outages, from, to) || overlaps(s.process.storms, from, to) ||
		overlaps(s.process.cuts, from, to) || overlaps(h.troubles, from, to)
}
