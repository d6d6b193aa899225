package main

import (
	"fmt"
	"time"
)

// explainOnce returns the reason of a second delivery in a group with AutoAck. Only a recreated
// group is one. The subscription of the later delivery may have read the entry before the group was
// destroyed, and held it while another one got it again.
func (h *history) explainOnce(before, again *delivery) reason {
	read := again.at - again.sub.group.heldAtMost()
	read -= h.pausedFor(again.sub, read, again.at)
	from := max(min(before.at, read), h.triedAt(again.uuid))
	if overlaps(h.destroyed[again.sub.group.Name], from, again.at) {
		return wasDestroyed
	}
	return noReason
}

// checkMissed checks that an entry that no handler got was lost for a reason. It takes the entry's
// position in the stream.
func (h *history) checkMissed(v *verdict, f *fates, number int) {
	e := h.entries[number]
	if len(f.byID[e.id]) > 0 {
		return // a handler had it
	}
	why := h.explainMissed(f, h.triedAt(e.uuid), f.handedOut(h.entries[number:]))
	if why == noReason {
		v.lost = append(v.lost, fmt.Sprintf("message %s: entry %s was never delivered in group %s, without a reason", e.uuid, e.id, f.Name))
		return
	}
	v.missed[why]++
	v.explained = append(v.explained, fmt.Sprintf("message %s: entry %s was never delivered in group %s: %s", e.uuid, e.id, f.Name, why))
}

// successors bounds how many later entries handedOut examines. Other consumers may have got some of
// them first.
const successors = 100

// handedOut returns a time by which the server had handed out the first of some entries. It hands
// them out in order.
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

// overdue is how much later than ReadTimeout a read may fail: it may block first, and the reader
// may not run at once.
const overdue = time.Second

// explainMissed returns why an entry that was handed out between two times may be lost: its
// consumer ended while the entry was read ahead, or the reply with it was lost.
func (h *history) explainMissed(f *fates, from, to int64) reason {
	held := to
	if to < forever-f.heldAtMost() {
		held += f.heldAtMost()
	}
	for _, s := range f.members {
		held := held
		if held != forever {
			held += h.pausedFor(s, from, held)
		}
		noticed := to
		if to < forever-f.heldAtMost() {
			noticed += int64(s.process.readTimeout + overdue) // when the network hangs, the read fails at its time-out
		}
		switch {
		case s.process.killedIn(from-int64(late), held): // the server may hand out entries to it for a moment
			return wasKilled
		case s.closing != (span{}) && overlaps([]span{s.closing}, from, held):
			return wasClosed
		case overlaps(s.outages, from, noticed):
			return wasFailure
		}
	}
	return noReason
}
