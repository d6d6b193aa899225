package main

import (
	"fmt"
	"time"
)

const (
	// promptly is how soon messages of other keys are handled while a key fails. Some may take
	// longer: a worker that is killed or stopped, or whose network hangs, keeps what it has read
	// ahead until its leases are over. A key that blocks the others delays nearly all of them.
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
	first := map[string]int64{} // when each message was first acked
	for _, list := range f.byID {
		for _, d := range list {
			if at, there := first[d.uuid]; d.end == acked && (!there || d.ended < at) {
				first[d.uuid] = d.ended
			}
		}
	}
	for _, failing := range h.failing {
		late, all := 0, 0
		for uuid, p := range h.published {
			at, there := first[uuid]
			if !there || keyOf(uuid) == failing.key || !h.comparable(f, p, at, failing) {
				continue
			}
			all++
			if at-p.doneAt > int64(promptly) {
				late++
			}
		}
		if all >= fewest && late > all/2 {
			v.stalled = append(v.stalled, fmt.Sprintf("group %s: while key %s failed, %s to %s, %d of %d messages of other keys took longer than %s",
				f.Name, failing.key, clock(failing.from), clock(failing.to), late, all, promptly))
		}
	}
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
