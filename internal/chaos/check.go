package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// verdict is what the checker found.
type verdict struct {
	lost        []string
	unexplained []string // delivered again without a reason
	disorder    []string
	deadLetters []string // wrong, missing or too many
	transfers   []string // lost, made twice, or not in the balances
	stalled     []string // keys that delayed others
	paused      []string // delivered during a pause
	failures    []string // other failures of the run

	deliveries   int
	duplicates   map[reason]int // delivered again after an ack
	takenOver    map[reason]int // delivered again before an ack
	missed       map[reason]int // never delivered, in a group with AutoAck
	deadLettered int            // number of dead letters
	refused      int            // commits of entries that the consumer did not hold
	explained    []string       // one line for each of the above
}

func (v *verdict) ok() bool {
	return len(v.lost)+len(v.unexplained)+len(v.disorder)+len(v.deadLetters)+len(v.transfers)+len(v.stalled)+len(v.paused)+len(v.failures) == 0
}

// reason is why a message may be delivered again.
type reason string

const (
	noReason     reason = ""
	wasDestroyed reason = "the group was destroyed, and recreated at its checkpoint"
	wasKilled    reason = "its process was killed before the server confirmed the ack"
	wasClosed    reason = "its subscriber was closed before the handler was done"
	wasStill     reason = "its process did not run for a while, and the lease expired"
	wasStorm     reason = "its connections were cut repeatedly, or hung, and the lease expired or the ack did not reach the server"
	wasTrouble   reason = "the server was down, paused or slow, and the lease expired or the ack did not reach the server"
	wasJump      reason = "the server's clock jumped forward, and the lease expired"
	wasFailure   reason = "a read failed, and its reply was lost"
	wasUncertain reason = "its Publish was uncertain, and was repeated"
)

// late bounds how much later than the server a journal records an event.
const late = 100 * time.Millisecond

// heldAtMost bounds how long a subscription holds an entry before a handler gets it. The entry may
// wait behind slow and nacked ones.
const heldAtMost = 5 * time.Second

// heldAtMost is longer in groups where keys fail, because their messages are nacked for long.
func (g group) heldAtMost() int64 {
	if g.FailingKeys {
		return int64(5 * heldAtMost)
	}
	return int64(heldAtMost)
}

// check judges the history of a run.
func check(h *history) *verdict {
	v := &verdict{duplicates: map[reason]int{}, takenOver: map[reason]int{}, missed: map[reason]int{}}
	h.checkPublished(v)
	all := h.subscriptions()
	for _, g := range h.groups {
		var members []*subscription
		for _, s := range all {
			if s.group.Name == g.Name {
				members = append(members, s)
			}
		}
		h.checkGroup(v, g, members)
		for _, s := range members {
			v.disorder = append(v.disorder, h.checkOrder(s, members)...)
			h.checkPauses(v, s)
		}
	}
	h.checkUnknownDeadLetters(v)
	return v
}

// checkPublished checks that each published message is in the stream, and more than once only after
// an uncertain Publish.
func (h *history) checkPublished(v *verdict) {
	times := make(map[string]int, len(h.entries))
	for _, e := range h.entries {
		times[e.uuid]++
	}
	for _, uuid := range slices.Sorted(maps.Keys(h.published)) {
		p, n := h.published[uuid], times[uuid]
		switch {
		case p.done && n == 0:
			v.lost = append(v.lost, fmt.Sprintf("message %s: published, but not in the stream", uuid))
		case n > 1+p.uncertain:
			v.unexplained = append(v.unexplained, fmt.Sprintf(
				"message %s is %d times in the stream, but only %d calls of Publish were uncertain", uuid, n, p.uncertain))
		case n > 1:
			v.duplicates[wasUncertain] += n - 1
			v.explained = append(v.explained, fmt.Sprintf("message %s is %d times in the stream: %s", uuid, n, wasUncertain))
		}
	}
}

// fates has what happened to the entries of a group.
type fates struct {
	group
	members     []*subscription
	byID        map[string][]*delivery  // by entry, in order of time
	handled     map[string]bool         // messages that were acked
	known       map[string][]settled    // by entry
	deadLetters map[string][]deadLetter // by entry
}

// settled records that an entry was acked or dead-lettered. at is when; known is the time from
// which the server certainly has it.
type settled struct{ at, known int64 }

func (h *history) fates(g group, members []*subscription) *fates {
	f := &fates{
		group: g, members: members,
		byID: make(map[string][]*delivery, len(h.entries)), handled: make(map[string]bool, len(h.entries)),
		known: map[string][]settled{}, deadLetters: h.deadLettersOf(g),
	}
	for _, s := range members {
		for _, d := range s.deliveries() {
			f.byID[d.id] = append(f.byID[d.id], d)
			if d.end == acked {
				f.handled[d.uuid] = true
			}
		}
	}
	for _, list := range f.byID {
		slices.SortFunc(list, func(a, b *delivery) int { return cmp.Compare(a.at, b.at) })
	}
	for _, s := range members {
		for _, e := range s.events {
			if e.kind == confirmed && len(f.byID[e.id]) > 1 && !h.ackedTooLate(s, f.byID[e.id], e.at) {
				f.known[e.id] = append(f.known[e.id], settled{e.at, e.at})
			}
		}
	}
	for id, deadLetters := range f.deadLetters {
		for _, l := range deadLetters {
			f.known[id] = append(f.known[id], settled{l.at, l.at + int64(deadLetteredWithin)})
		}
	}
	return f
}

// checkGroup checks that a group acked or dead-lettered every entry, and that each repeated
// delivery has a reason.
func (h *history) checkGroup(v *verdict, g group, members []*subscription) {
	f := h.fates(g, members)
	for i, e := range h.entries {
		list := f.byID[e.id]
		v.deliveries += len(list)
		switch {
		case g.transfers(e.uuid): // checkTransfers looks at its event
		case f.handled[e.uuid] || len(f.deadLetters[e.id]) > 0:
		case g.AutoAck:
			h.checkMissed(v, f, i)
		default:
			v.lost = append(v.lost, fmt.Sprintf("message %s: entry %s was never acked in group %s (delivered %d times)",
				e.uuid, e.id, g.Name, len(list)))
		}
		isAcked := false
		for i := range len(list) - 1 {
			isAcked = isAcked || list[i].end == acked && list[i].ended < list[i+1].at
			h.judge(v, list[i], list[i+1], isAcked, h.confirmedAt(g, f.known[e.id], list[i+1].at))
		}
		h.checkDeadLetters(v, f, e)
	}
	h.checkProgress(v, f)
	h.checkTransfers(v, f)
}

// confirmedAt returns since when the server is known to have an ack of the entry, as of a time;
// forever: it is not known. Acks before the group was destroyed do not count afterwards.
func (h *history) confirmedAt(g group, acks []settled, at int64) int64 {
	since := never
	for _, d := range h.destroyed[g.Name] {
		if d.from <= at {
			since = max(since, d.to+int64(late))
		}
	}
	first := forever
	for _, ack := range acks {
		if ack.at >= since {
			first = min(first, ack.known)
		}
	}
	return first
}

// judge looks for the reason of a repeated delivery.
func (h *history) judge(v *verdict, before, again *delivery, isAcked bool, confirmedAt int64) {
	if (before.sub == again.sub || again.sub.group.Retries) && before.end == nacked && before.ended <= again.at {
		return // a nacked message is redelivered; from the retry queue, to any member
	}
	if before.end == nacked && h.wasPaused(before.sub, before.at, again.at) {
		return // what waited for its redelivery was released
	}
	why := h.explain(before, again, confirmedAt)
	text := fmt.Sprintf("entry %s (%s) in group %s: %s, again %s, ack confirmed %s",
		again.id, again.uuid, again.sub.group.Name, before, again, sinceText(confirmedAt))
	if why == noReason {
		v.unexplained = append(v.unexplained, text)
		return
	}
	v.explained = append(v.explained, text+": "+string(why))
	if isAcked {
		v.duplicates[why]++
	} else {
		v.takenOver[why]++
	}
}

func (d *delivery) String() string {
	end := "open"
	if d.end != 0 {
		end = fmt.Sprintf("%c at %s", d.end, clock(d.ended))
	}
	return fmt.Sprintf("%s at %s as delivery %d, %s", d.sub.process.name, clock(d.at), d.deliveries, end)
}

func sinceText(at int64) string {
	if at == forever {
		return "never"
	}
	return "at " + clock(at)
}

func clock(at int64) string { return time.Unix(0, at).UTC().Format("15:04:05.000000") }

// explain returns the reason why an entry was delivered again; noReason: there is none.
func (h *history) explain(before, again *delivery, confirmedAt int64) reason {
	if again.sub.group.AutoAck {
		return h.explainOnce(before, again)
	}
	tried := h.triedAt(again.uuid)
	held := max(before.at-again.sub.group.heldAtMost(), tried)
	since := held
	// The retry queue outlives its group, so the entry may have been in it when the group was recreated.
	if again.sub.group.Retries {
		since = tried
	}
	stillPending := confirmedAt > again.at-int64(late) // the subscription asked the server just before
	first := before.sub
	switch {
	case overlaps(h.destroyed[again.sub.group.Name], since, again.at):
		return wasDestroyed
	case stillPending && first.process.killedBy(again.at):
		return wasKilled
	case stillPending && first.closedBy(again.at) && !before.ackedInTime():
		return wasClosed
	case confirmedAt < again.at-int64(longPause(h.claimMinIdle)) && !h.unheard(again):
		return noReason
	default:
		return h.explainOwner(before, again, held)
	}
}

// explainOwner returns why one of two subscriptions that delivered an entry may have lost its lease.
func (h *history) explainOwner(before, again *delivery, held int64) reason {
	if again.deliveries > before.deliveries {
		return h.explainLease(before.sub, before, held, again.at)
	}
	// The later delivery may belong to the earlier owner: it got the entry, lost it while its
	// process did not run, and delivers it all the same.
	why := h.explainLease(again.sub, before, held, again.at)
	if why == noReason && overlaps(again.sub.outages, before.at, again.at) {
		// Or the new owner claimed the entry, and the reply was lost. It takes what it finds pending
		// for its name for entries of a lost read, which no handler got.
		why = h.explainLease(before.sub, before, held, again.at)
	}
	return why
}

// explainLease returns why a subscription may have lost its lease of an entry until a time. It held
// the entry since a time before its delivery.
func (h *history) explainLease(loser *subscription, d *delivery, held, until int64) reason {
	switch {
	case overlaps(loser.still, held, until):
		return wasStill
	case overlaps(loser.process.storms, d.at-int64(h.claimMinIdle), until):
		return wasStorm
	case overlaps(h.troubles, held, until):
		return wasTrouble
	case overlaps(h.jumps, held, until):
		return wasJump
	default:
		return noReason
	}
}

// ackedInTime reports whether a message was acked before CloseTimeout was over.
func (d *delivery) ackedInTime() bool {
	return d.end == acked && d.ended < d.sub.closing.from+int64(closeTimeout)
}

// ackedTooLate reports whether the lease of an entry of the retry queue may have ended before the
// server had the ack. Such an ack ends the entry only while its consumer holds it. When it was
// delivered, the subscription had just heard from the server that it holds it, as in unheard.
func (h *history) ackedTooLate(s *subscription, deliveries []*delivery, confirmedAt int64) bool {
	if !s.group.Retries {
		return false
	}
	for _, d := range slices.Backward(deliveries) {
		if d.sub == s && d.at <= confirmedAt {
			held := max(d.at-int64(h.claimMinIdle), h.triedAt(d.uuid))
			return confirmedAt-d.at > int64(h.claimMinIdle) || h.explainLease(s, d, held, confirmedAt) != noReason
		}
	}
	return false
}

// unheard reports whether the subscription may have had no contact with the server when it
// delivered an entry. Before it delivers an entry that was claimed or whose lease is over, it asks
// the server whether it still owns it.
func (h *history) unheard(d *delivery) bool {
	since := d.at - int64(h.claimMinIdle)
	return overlaps(d.sub.still, since, d.at) || overlaps(d.sub.process.storms, since, d.at) ||
		overlaps(h.troubles, since, d.at) || overlaps(h.jumps, since, d.at)
}

// triedAt returns when a message was first published.
func (h *history) triedAt(uuid string) int64 {
	if p := h.published[uuid]; p != nil {
		return p.tried
	}
	return never
}
