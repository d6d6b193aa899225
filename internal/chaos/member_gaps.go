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
	var old *ownership // the last one that handled a message
	for _, next := range s.owners {
		if len(next.handlings) == 0 {
			continue
		}
		if old == nil {
			old = next
			continue
		}
		before := old
		old = next
		first := next.handlings[0]
		kind, ended := gapLeaving, before.at
		for _, one := range before.handlings {
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
			v.ignoredGaps++
			continue
		}
		gap := time.Duration(first.At - max(began, ended))
		v.gaps[kind] = append(v.gaps[kind], gap)
		if gap > h.limit(kind) {
			v.late = append(v.late, fmt.Sprintf("%s after %s: %s (generation %d of %s ended at %s)",
				gap.Round(time.Millisecond), kind, first, before.generation, before.process.name, clock(ended)))
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
	for _, kind := range []string{gapLeaving, gapDying} {
		if percentile(v.gaps[kind], 99) > h.limit(kind) {
			return
		}
	}
	v.late = nil
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
