package subscription

import (
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// leasedSince is when the lease of an entry began at the latest.
func (b *inbox) leasedSince(e *entry) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.touched
}

// settle marks an entry that a lane has: no handler has it any more, and the server is about to be told.
func (b *inbox) settle(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.state = settling
}

// outlast marks an entry whose handler still runs when Close gives up waiting: it is not released.
func (b *inbox) outlast(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.state = late
	e.DropFields()
	e.msg = nil // the message that the handler has is a copy
}

// owns reports whether the entry is held here.
func (b *inbox) owns(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[id] != nil
}

// due returns the leases that were last renewed before the given time. What is acknowledged
// needs none, nor what is in no stream any more.
func (b *inbox) due(before time.Time) []stream.Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	var leases []stream.Lease
	for id, e := range b.held {
		if e.state != settling && !e.lost && !e.trimmed && e.touched.Before(before) {
			leases = append(leases, stream.Lease{ID: id, Deliveries: max(e.delivered(), e.Counted)})
		}
	}
	return leases
}

// renewed notes the outcome of a renewal that began at the given time. The handlers of what is
// lost are told by their message's context. It returns the entries that were lost without being
// acknowledged by us.
func (b *inbox) renewed(leases []stream.Lease, began time.Time, lost, trimmed []string) (taken []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range leases {
		if e := b.held[l.ID]; e != nil {
			e.touched = began
		}
	}
	for _, id := range trimmed {
		if e := b.held[id]; e != nil {
			e.trimmed = true
		}
	}
	for _, id := range lost {
		e := b.held[id]
		if e == nil || e.state == settling || e.trimmed {
			continue
		}
		e.lost = true
		if e.aside == 0 { // else it may be in the dead letters, and the reply was lost
			taken = append(taken, id)
		}
		if e.cancel != nil {
			e.cancel()
		}
	}
	return taken
}

// leases returns all that is still held and ours, and at Close to be released: all but what late handlers keep.
func (b *inbox) leases() (release []stream.Lease, keep []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	release = make([]stream.Lease, 0, len(b.held))
	for id, e := range b.held {
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

// longHeld returns the entries that a handler has had for the given time, and for each since when; each comes again after
// twice the time.
func (b *inbox) longHeld(limit time.Duration) map[string]time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.working == 0 {
		return nil
	}
	var list map[string]time.Duration
	for id, e := range b.held {
		if e.state != inLane || e.since.IsZero() {
			continue
		}
		if held := time.Since(e.since); held >= max(limit, 2*e.warned) {
			if list == nil {
				list = make(map[string]time.Duration)
			}
			list[id], e.warned = held, held
		}
	}
	return list
}
