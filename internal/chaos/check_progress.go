package main

import (
	"fmt"
	"time"
)

const (
	// promptly is how soon messages of other keys are handled while a key fails. A few may take
	// longer, because their worker was killed or stopped.
	promptly = 2 * time.Second
	// replayed bounds how long a group works on repeated messages after it was destroyed.
	replayed = 10 * time.Second
	// fewest is the least number of messages for a verdict.
	fewest = 20
)

// checkProgress checks that keys that failed did not delay the others.
func (h *history) checkProgress(v *verdict, f *fates) {
	if !f.FailingKeys {
		return
	}
	first := f.firstAcks()
	for _, failing := range h.failing {
		late, all := 0, 0
		for uuid, p := range h.published {
			d := first[uuid].delivery
			if d == nil || keyOf(uuid) == failing.key || !h.comparable(f, p, d.ended, failing) || first[uuid].delayedByWorker(p.tried) {
				continue
			}
			all++
			if d.ended-p.doneAt > int64(promptly) {
				late++
			}
		}
		if all >= fewest && late > all/4 {
			v.stalled = append(v.stalled, fmt.Sprintf("group %s: while key %s failed, %s to %s, %d of %d messages of other keys took longer than %s",
				f.Name, failing.key, clock(failing.from), clock(failing.to), late, all, promptly))
		}
	}
}

// firstAck is the first delivery of a message that was acked.
type firstAck struct {
	*delivery

	earlier int // deliveries of its entry to handlers before
}

func (f *fates) firstAcks() map[string]firstAck {
	first := map[string]firstAck{}
	for _, list := range f.byID {
		for i, d := range list {
			if known := first[d.uuid]; d.end == acked && (known.delivery == nil || d.ended < known.ended) {
				first[d.uuid] = firstAck{d, i}
			}
		}
	}
	return first
}

// delayedByWorker reports whether a message that was published then waited for a worker: one had read
// it and did not hand it out before others took it over, or the one that handled it did not run or
// had no connection.
func (d firstAck) delayedByWorker(tried int64) bool {
	return d.deliveries > int64(d.earlier)+1 ||
		overlaps(d.sub.still, tried, d.ended) || overlaps(d.sub.process.storms, tried, d.ended) || overlaps(d.sub.outages, tried, d.ended)
}

// comparable reports whether a message was published while the key failed, and nothing but that key
// may have delayed it: no trouble with the server, no pause, and no backlog.
func (h *history) comparable(f *fates, p *publication, handled int64, failing failingKey) bool {
	if !p.done || p.uncertain > 0 || p.doneAt < failing.from || p.doneAt > failing.to {
		return false
	}
	for _, t := range h.troubles {
		if backlog := (t.to - t.from) + int64(promptly); t.from <= handled && p.tried <= t.to+backlog {
			return false
		}
	}
	for _, pause := range h.paused[f.Name] {
		backlog := (pause.around.to - pause.around.from) + int64(2*promptly)
		if pause.around.from <= handled && p.tried <= pause.around.to+backlog {
			return false
		}
	}
	return !overlaps(h.destroyed[f.Name], p.tried-int64(replayed), handled)
}
