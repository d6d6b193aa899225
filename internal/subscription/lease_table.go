package subscription

import (
	"slices"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// leaseTable holds every entry that the server gave to this subscription, until it is acknowledged,
// released or lost. The inbox's lock guards it.
type leaseTable struct {
	entries  map[string]*entry
	bytes    int  // of the entries' fields
	deferred int  // entries whose dead-lettering is deferred
	renewing bool // leases of due are being renewed
	allLost  bool // another consumer is the active one
}

func newLeaseTable() leaseTable { return leaseTable{entries: make(map[string]*entry)} }

// add takes an entry that was read; its lease began at leasedAt or later. It reports whether the
// entry is new. A known entry is ours again: the group was recreated, or the entry was due in the
// retry queue before we knew that it was there.
func (t *leaseTable) add(e *entry, leasedAt time.Time) bool {
	if known := t.entries[e.ID]; known != nil {
		known.lost, known.leasedAt, known.again = false, leasedAt, known.state == settling
		if known.commit == notHeld {
			known.commit = notCommitted
		}
		return false
	}
	e.leasedAt, e.lost = leasedAt, t.allLost
	t.entries[e.ID] = e
	t.bytes += e.size
	return true
}

func (t *leaseTable) remove(e *entry) {
	if t.entries[e.ID] != e {
		return
	}
	delete(t.entries, e.ID)
	e.forgetContent()
	t.bytes -= e.size
	if e.deferrals > 0 {
		t.deferred--
	}
}

// deferEntry keeps only the ID of an entry that could not be dead-lettered: there may be any number
// of them.
func (t *leaseTable) deferEntry(e *entry) {
	t.bytes -= e.size
	e.size = 0
	e.forgetContent()
	if e.deferrals == 0 {
		t.deferred++
	}
	e.deferrals++
}

// due returns the leases that were last renewed before the given time. Entries that are being
// acknowledged or released, are committed or were trimmed need no lease.
func (t *leaseTable) due(before time.Time) []stream.Lease {
	var leases []stream.Lease
	for id, e := range t.entries {
		if e.state != settling && e.state != releasing && e.commit != committed && !e.lost && !e.trimmed && e.leasedAt.Before(before) {
			leases = append(leases, stream.Lease{ID: id, Deliveries: max(e.delivered(), e.Counted)})
		}
	}
	return leases
}

// renewed records the outcome of a renewal that began at the given time. The context of a message
// whose lease is lost ends. It returns the entries that were lost without an ack of ours, and those
// that were trimmed since the last renewal.
func (t *leaseTable) renewed(leases []stream.Lease, began time.Time, lost, trimmed []string) (taken, trimmedNow []string) {
	for _, l := range leases {
		if e := t.entries[l.ID]; e != nil {
			e.leasedAt = began
		}
	}
	for _, id := range trimmed {
		if e := t.entries[id]; e != nil && !e.trimmed && !e.mayBeAcknowledged() {
			e.trimmed = true
			trimmedNow = append(trimmedNow, id)
		}
	}
	for _, id := range lost {
		e := t.entries[id]
		if e == nil || e.mayBeAcknowledged() || e.trimmed {
			continue
		}
		e.lost = true
		if e.deferrals == 0 && e.commit != uncertain && !e.known().mayBeQueued { // otherwise a lost reply may have settled it
			taken = append(taken, id)
		}
		if e.context != nil {
			e.context.end()
		}
	}
	return taken, trimmedNow
}

// loseAll records that this consumer owns nothing any more, and ends the contexts of the messages.
func (t *leaseTable) loseAll() {
	t.allLost = true
	for _, e := range t.entries {
		e.lost = true
		if e.context != nil {
			e.context.end()
		}
	}
}

// endPauses ends the pauses of entries that are lost: their successors need not wait for them.
func (t *leaseTable) endPauses(ids []string) {
	for _, id := range ids {
		if e := t.entries[id]; e != nil && e.lost && e.state == paused && e.timer.Stop() {
			e.timer.Reset(0)
		}
	}
}

// waiting returns the entries in these states that their handlers want again later. The caller owns
// them: only the owner may read an entry's trouble.
func (t *leaseTable) waiting(states ...state) (list []stream.Postponement) {
	for id, e := range t.entries {
		if e.lost || !slices.Contains(states, e.state) {
			continue
		}
		if wait := time.Until(e.known().notBefore); wait > 0 {
			list = append(list, stream.Postponement{Lease: stream.Lease{ID: id, Deliveries: e.delivered()}, Wait: wait})
		}
	}
	return list
}

// atClose returns the leases to release when the subscription ends, and the IDs that late handlers
// keep.
func (t *leaseTable) atClose() (release []stream.Lease, keep []string) {
	release = make([]stream.Lease, 0, len(t.entries))
	for id, e := range t.entries {
		switch {
		case e.lost:
		case e.state == late:
			keep = append(keep, id)
		default:
			release = append(release, stream.Lease{ID: id, Deliveries: e.delivered()})
		}
	}
	return release, keep
}

// longHeld returns the entries that a handler has had for at least the limit, and for how long.
// Each is returned again after twice the time.
func (t *leaseTable) longHeld(limit time.Duration) map[string]time.Duration {
	list := make(map[string]time.Duration)
	for id, e := range t.entries {
		if e.state != inFlight || e.heldSince.IsZero() {
			continue
		}
		if held := time.Since(e.heldSince); held >= max(limit, 2*e.reportedAt) {
			list[id], e.reportedAt = held, held
		}
	}
	return list
}
