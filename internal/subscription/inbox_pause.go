package subscription

import (
	"slices"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// pauseState is the inbox's part of a pause. The inbox's lock guards it.
type pauseState struct {
	on     bool // no worker takes an entry, and the reader does not read
	unheld bool // the reader does not know yet of an entry that no handler has any more
}

// setPaused begins or ends a pause.
func (b *inbox) setPaused(paused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.still.on = paused
	b.wakeAll()
	b.space.Signal()
}

// unheld signals the reader that an entry has no handler any more.
func (b *inbox) unheld() {
	b.still.unheld = true
	if b.still.on {
		b.space.Signal()
	}
}

// giveBack takes an entry back from a worker whose offer a pause ended.
func (b *inbox) giveBack(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveWorker(e)
	if e.lost {
		b.end(e)
		return
	}
	b.requeue(e)
	b.unheld()
}

// awaitUnheld waits during a pause until there is an entry to release, at most for the given time.
// It reports whether the pause goes on, and whether the inbox is open.
func (b *inbox) awaitUnheld(wait time.Duration) (paused, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	over := wait <= 0
	timer := time.AfterFunc(wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		over = true
		b.space.Signal()
	})
	defer timer.Stop()
	for b.still.on && !b.still.unheld && !b.closed && !over {
		b.space.Wait()
	}
	b.still.unheld = false
	return b.still.on, !b.closed
}

// renewed records that the renewal of leases has ended.
func (b *inbox) renewed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.table.renewing = false
	b.space.Signal()
}

// withdraw makes the reader the owner of all entries that no worker and no acker has, so that it
// can release them. It reports whether there are any, or always if asked to. It waits for a renewal
// of their leases that is under way: if that renewal came after the release, other consumers could
// not claim the entries before ClaimMinIdle.
func (b *inbox) withdraw(always bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.still.on {
		return false
	}
	var list, gone []*entry
	found := false
	for _, e := range b.table.entries {
		switch {
		case e.state == releasing:
			found = true
		case e.state != queued && e.state != paused:
		case e.lost, e.commit == committed:
			gone, list = append(gone, e), append(list, e)
		default:
			list = append(list, e)
		}
	}
	b.retries.forget(list)
	b.queues.removeAll()
	for _, e := range list {
		e.become(releasing)
	}
	for _, e := range gone {
		b.table.remove(e)
	}
	if found = found || len(list) > len(gone); !found && !always {
		return false
	}
	for b.table.renewing && !b.closed {
		b.space.Wait()
	}
	return !b.closed
}

// released forgets the withdrawn entries after the server has released them.
func (b *inbox) released() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.table.entries {
		if e.state == releasing {
			b.table.remove(e)
		}
	}
}

// putBack queues the entries whose release is uncertain. Their leases are checked before they are
// delivered. Entries that no handler had wait for older ones that are claimed first.
func (b *inbox) putBack(gap string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*entry
	for _, e := range b.table.entries {
		if e.state == releasing {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(e, other *entry) int {
		if stream.Precedes(e.ID, other.ID) {
			return -1
		}
		return 1
	})
	b.queues.setGap(gap)
	for _, e := range list {
		e.leasedAt = time.Time{}
		if wait := time.Until(e.known().notBefore); wait > 0 {
			b.waitUnblocking(e, wait)
			continue
		}
		e.become(queued)
		if e.deferrals > 0 {
			b.queues.requeue(e)
		} else {
			b.queues.add(e, true)
		}
	}
	b.wakeAll()
}

// atPause returns the leases of the withdrawn entries, and the IDs of all other entries.
func (t *leaseTable) atPause() (release []stream.Lease, keep []string) {
	for id, e := range t.entries {
		if e.state == releasing {
			release = append(release, stream.Lease{ID: id, Deliveries: e.delivered()})
		} else {
			keep = append(keep, id)
		}
	}
	return release, keep
}
