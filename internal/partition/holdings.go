package partition

import (
	"slices"
	"time"
)

// holdings is what a member has.
type holdings struct {
	keeps set // owned, and to be kept
	gives set // owned, and given up
	// lost is what it owned until the lease was over, as in an outage. It tries to acquire these
	// partitions again and claims them until the server says that another member has them, or until
	// this time.
	lost map[int]time.Time
}

func newHoldings(n int) holdings {
	return holdings{newSet(n), newSet(n), map[int]time.Time{}}
}

// update takes over what is owned now.
func (h *holdings) update(now time.Time, lease time.Duration, owned []int) {
	held := setOf(len(h.keeps)*wordBits, owned...)
	gone := h.keeps.clone()
	gone.removeAll(held)
	for p := range gone.all() {
		h.lost[p] = now.Add(lease)
	}
	h.gives.keepOnly(held)
	h.keeps = held
	h.keeps.removeAll(h.gives)
	for p, until := range h.lost {
		if held.has(p) || !now.Before(until) {
			delete(h.lost, p)
		}
	}
}

// give moves a partition to those that are given up. It reports whether it is owned.
func (h *holdings) give(p int) bool {
	delete(h.lost, p)
	if !h.keeps.has(p) {
		return false
	}
	h.keeps.remove(p)
	h.gives.add(p)
	return true
}

// isAnothers notes that another member owns a partition.
func (h *holdings) isAnothers(p int) { delete(h.lost, p) }

func (h *holdings) kept() []int { return slices.Collect(h.keeps.all()) }

// none reports whether nothing is owned.
func (h *holdings) none() bool { return h.keeps.last() < 0 && h.gives.last() < 0 }

// withLost returns the partitions that were lost, before the others.
func (h *holdings) withLost(others []int) []int {
	if len(h.lost) == 0 {
		return others
	}
	list := make([]int, 0, len(h.lost)+len(others))
	for p := range h.lost {
		list = append(list, p)
	}
	slices.Sort(list)
	for _, p := range others {
		if _, lost := h.lost[p]; !lost {
			list = append(list, p)
		}
	}
	return list
}

// peer returns what the member says of itself.
func (h *holdings) peer(name string, leaving bool) peer {
	keeps := h.keeps.clone()
	if !leaving {
		for p := range h.lost {
			keeps.add(p)
		}
	}
	return peer{name, leaving, keeps, h.gives.clone()}
}
