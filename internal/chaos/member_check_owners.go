package main

import (
	"fmt"
	"time"
)

// noticing is how long after it stood still a process may run handlers of a generation that is over.
const noticing = time.Second

// checkOwners checks that handlers of two generations ran at a time only if the process of the former
// one stood still, or a server was down; and that an ack of the former one had no effect then.
func (h *memberHistory) checkOwners(v *memberVerdict, s *ownedStream) {
	handledAt := map[string]int64{} // by entry: the newest generation that handled it
	for _, o := range s.owners {
		for _, one := range o.handlings {
			handledAt[one.Entry] = o.generation
		}
	}
	for i, o := range s.owners {
		next := s.firstAfter(i)
		if next == nil {
			continue
		}
		for _, one := range o.handlings {
			if one.end() <= next.At {
				continue
			}
			v.overlaps++
			v.longestOverlap = max(v.longestOverlap, time.Duration(one.end()-max(next.At, one.At)))
			since := max(next.At-int64(h.lease)-int64(longPause(h.lease)), one.end()-int64(noticing))
			if !h.disturbed(one.process, since, one.end()) {
				v.twoOwners = append(v.twoOwners, fmt.Sprintf("%s ran until %s, and generation %d began at %s",
					one, clock(one.end()), next.Generation, clock(next.At)))
			}
			if one.stale && handledAt[one.Entry] == o.generation && !h.dead[one.handlerKey()] {
				v.twoOwners = append(v.twoOwners, fmt.Sprintf("%s was acknowledged at %s after generation %d had begun, and never came again",
					one, clock(one.ended), next.Generation))
			}
		}
	}
}
