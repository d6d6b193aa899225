package main

import (
	"fmt"
	"time"
)

// explainOnce returns what allowed a second delivery where each is delivered at most once: only a group that began again.
func (h *history) explainOnce(before, again *delivery) reason {
	if overlaps(h.destroyed[again.sub.group.Name], before.at, again.at) {
		return wasDestroyed
	}
	return noReason
}

// checkMissed checks that an entry, by its number in the stream, that no handler had acked was lost on its way to one.
func (h *history) checkMissed(v *verdict, f *fates, number int) {
	e := h.entries[number]
	if len(f.byID[e.id]) > 0 {
		return // a handler had it
	}
	why := h.explainMissed(f, h.triedAt(e.uuid), f.handedOut(h.entries[number:]))
	if why == noReason {
		v.lost = append(v.lost, fmt.Sprintf("message %s: entry %s never came in group %s, and nothing that happened allows it", e.uuid, e.id, f.Name))
		return
	}
	v.missed[why]++
	v.explained = append(v.explained, fmt.Sprintf("message %s: entry %s never came in group %s: %s", e.uuid, e.id, f.Name, why))
}

// successors is how many of an entry's successors tell when it was handed out: others may have had some of them first.
const successors = 100

// handedOut is when the server had handed out the first of some entries at the latest: it does so in their order.
func (f *fates) handedOut(entries []entry) int64 {
	at, seen := forever, 0
	for _, e := range entries {
		if list := f.byID[e.id]; len(list) > 0 {
			at = min(at, list[0].at)
			if seen++; seen == successors {
				break
			}
		}
	}
	return at
}

// overdue is how much later than ReadTimeout a read may time out: it may block, and the reader may not run at once.
const overdue = time.Second

// explainMissed returns what may have cost an entry that was handed out between two times: its consumer's end while it was
// read ahead, or the loss of the reply that it was in.
func (h *history) explainMissed(f *fates, from, to int64) reason {
	held := to
	if to < forever-f.heldAtMost() {
		held += f.heldAtMost()
	}
	for _, s := range f.members {
		noticed := to
		if to < forever-f.heldAtMost() {
			noticed += int64(s.process.readTimeout + overdue) // a reader whose network hangs notices the loss when its read times out
		}
		switch {
		case s.process.killedIn(from-int64(late), held): // the server may hand out entries before it notices
			return wasKilled
		case s.closing != (span{}) && overlaps([]span{s.closing}, from, held):
			return wasClosed
		case overlaps(s.outages, from, noticed):
			return wasFailure
		}
	}
	return noReason
}
