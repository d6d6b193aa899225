package admin

import (
	"slices"
	"sync"
	"time"
)

// History keeps snapshots, and returns rates and how lags changed. It is safe for concurrent use.
type History struct {
	most int

	mu        sync.Mutex
	snapshots []Snapshot
}

// NewHistory returns a History of the newest snapshots. most is how many it keeps, at least 2: rates
// need two.
func NewHistory(most int) *History { return &History{most: max(most, 2)} }

// Add adds a snapshot. One that is not newer than the newest one is left out.
func (h *History) Add(s Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.snapshots); n > 0 && !h.snapshots[n-1].Time.Before(s.Time) {
		return
	}
	if len(h.snapshots) == h.most {
		h.snapshots = slices.Delete(h.snapshots, 0, 1)
	}
	h.snapshots = append(h.snapshots, s)
}

// Latest returns the newest snapshot; false: there is none.
func (h *History) Latest() (Snapshot, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.snapshots) == 0 {
		return Snapshot{}, false
	}
	return h.snapshots[len(h.snapshots)-1], true
}

// Point is a group at a time.
type Point struct {
	Time    time.Time
	Added   float64 // messages a second that were added to the topic since the point before
	Handled float64 // messages a second that the group handled since then; below 0 after a Reset
	Lag     Lag
	Pending int64
	Oldest  time.Duration
}

// Points returns the points of a group, the oldest first. The first snapshot makes none, and neither
// does one without the group. Where a lag is not exact, Handled is an estimate.
func (h *History) Points(topic, group string) (points []Point) {
	h.mu.Lock()
	snapshots := slices.Clone(h.snapshots) // a snapshot is never changed
	h.mu.Unlock()
	var before *pointBase
	for _, s := range snapshots {
		now := baseOf(s, topic, group)
		if now != nil && before != nil {
			points = append(points, now.since(before))
		}
		before = now
	}
	return points
}

// pointBase is a group in a snapshot.
type pointBase struct {
	time  time.Time
	added int64
	group Group
}

func baseOf(s Snapshot, topic, group string) *pointBase {
	for _, t := range s.Topics {
		if t.Topic.Name != topic {
			continue
		}
		for _, g := range t.Groups {
			if g.Name == group {
				return &pointBase{s.Time, t.Topic.Added, g}
			}
		}
	}
	return nil
}

// open is how many messages the group has not handled.
func (b *pointBase) open() int64 { return b.group.Lag.N + b.group.Pending + b.group.Parked }

func (b *pointBase) since(before *pointBase) Point {
	seconds := b.time.Sub(before.time).Seconds()
	added := b.added - before.added
	if added < 0 { // the stream was created again
		added = b.added
	}
	return Point{
		Time: b.time, Added: float64(added) / seconds, Handled: float64(added-(b.open()-before.open())) / seconds,
		Lag: b.group.Lag, Pending: b.group.Pending, Oldest: b.group.OldestAge,
	}
}
