package main

import (
	"fmt"
	"slices"
	"time"
)

// How an owner ended.
const (
	gapLeaving = "leaving" // it gave the stream up
	gapDying   = "dying"   // a process was killed or stood still
)

var gapKinds = []string{gapLeaving, gapDying}

// limit returns how long 99 of 100 gaps may be.
func (h *memberHistory) limit(kind string) time.Duration {
	if kind == gapDying {
		return h.lease + time.Second
	}
	return time.Second
}

// findGaps finds the time between the end of each owner and the first message of the next one, if the
// message was there before. The end of an owner that leaves is that of its last handler. If a process
// was killed or stood still, the owner or one that was to follow it, it is that time.
func (h *memberHistory) findGaps(v *memberVerdict, s *ownedStream) {
	published := map[string]int64{}
	for _, m := range h.published {
		if (m.topic == wholeTopic) == (s.stream == wholeTopic) {
			published[fmt.Sprint(m.key, " ", m.number)] = m.doneAt
		}
	}
	idle := func(o *ownership) bool { return len(o.handlings) == 0 }
	owners := slices.DeleteFunc(slices.Clone(s.owners), idle)
	for i := 1; i < len(owners); i++ {
		old, next := owners[i-1], owners[i]
		first := next.handlings[0]
		kind, ended := gapLeaving, old.at
		for _, one := range old.handlings {
			if one.ended != 0 && one.ended <= first.At {
				ended = max(ended, one.ended)
			}
		}
		if death := h.lastDeath(ended-int64(h.lease), next); death != 0 {
			kind, ended = gapDying, max(death, ended)
		}
		began := published[fmt.Sprint(first.Key, " ", first.Number)]
		if began == 0 || began > first.At || began > next.at {
			continue // nothing was waiting when the next owner began
		}
		if overlaps(h.troubles, ended-int64(h.lease), first.At) || overlaps(h.busy, ended, first.At) {
			v.ignoredGaps[kind]++
			continue
		}
		gap := time.Duration(first.At - max(began, ended))
		v.gaps[kind] = append(v.gaps[kind], gap)
		if gap > h.limit(kind) {
			v.late = append(v.late, fmt.Sprintf("%s after %s: %s (generation %d of %s ended at %s)",
				gap.Round(time.Millisecond), kind, first, old.generation, old.process.name, clock(ended)))
		}
	}
}

// sluggish is how long a handler takes at most if the machine is not too busy: they work for 20 ms, and
// some commit.
const sluggish = 100 * time.Millisecond

// busy returns when handlers took too long, in processes that neither died nor stood still.
func busy(streams []*ownedStream) (list []span) {
	for _, s := range streams {
		for _, o := range s.owners {
			for _, one := range o.handlings {
				long := one.ended-one.At > int64(sluggish)
				if long && one.process.killed == 0 && !overlaps(one.process.stood(), one.At, one.ended) {
					list = append(list, span{one.At, one.ended})
				}
			}
		}
	}
	return list
}

// lastDeath returns when a process was last killed or began to stand still, from this time until the
// owner began; 0: none was.
func (h *memberHistory) lastDeath(from int64, next *ownership) (last int64) {
	for _, p := range h.processes {
		if from <= p.killed && p.killed <= next.at {
			last = max(last, p.killed)
		}
		for _, s := range p.stood() {
			if s.from <= next.at && s.to >= from {
				last = max(last, s.from)
			}
		}
	}
	return last
}

// checkGaps keeps the findings of the gaps only if the 99th percentile is over the limit.
func (h *memberHistory) checkGaps(v *memberVerdict) {
	for _, kind := range gapKinds {
		if percentile(v.gaps[kind], 99) > h.limit(kind) {
			return
		}
	}
	v.late = nil
}

// checkGapsFound reports a kind of which the run had no gap: then it shows nothing.
func (v *memberVerdict) checkGapsFound() {
	for _, kind := range gapKinds {
		if len(v.gaps[kind])+v.ignoredGaps[kind] == 0 {
			v.failures = append(v.failures, "no gap after "+kind+" was found")
		}
	}
}

// gapFigures describes the gaps of a kind, and says if those that count show little: they are the
// smaller part.
func (v *memberVerdict) gapFigures(kind string) string {
	counts, ignored := len(v.gaps[kind]), v.ignoredGaps[kind]
	text := figures(v.gaps[kind])
	if ignored > 0 {
		text += fmt.Sprintf("; %d do not count: a server was down, or the machine was too busy", ignored)
	}
	if ignored > counts {
		text += ". THE LIMIT IS NOT SHOWN: more than half do not count"
	}
	return text
}

// percentile returns the smallest duration that p percent are not above.
func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func figures(list []time.Duration) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, p50 %s, p99 %s, longest %s", len(list), percentile(list, 50).Round(time.Millisecond),
		percentile(list, 99).Round(time.Millisecond), slices.Max(list).Round(time.Millisecond))
}
