package admin

import (
	"context"
	"time"
)

// Snapshot is the state of topics at a time.
type Snapshot struct {
	Time   time.Time // by the server's clock
	Topics []TopicSnapshot
}

// TopicSnapshot is a topic and its groups.
type TopicSnapshot struct {
	Topic  Topic
	Groups []Group
}

// Snapshot returns the state of topics and their groups. No names: of all topics, but of at most limit; 0 is no
// limit.
func (a *Admin) Snapshot(ctx context.Context, limit int, topics ...string) (Snapshot, error) {
	panic("to do")
}

// History keeps snapshots, and returns rates and how lags changed. It is safe for concurrent use.
type History struct{}

// NewHistory returns a History of the last snapshots, at most most of them.
func NewHistory(most int) *History { panic("to do") }

// Add adds a snapshot.
func (h *History) Add(s Snapshot) {}

// Latest returns the newest snapshot; false: there is none.
func (h *History) Latest() (Snapshot, bool) { panic("to do") }

// Point is a group at a time.
type Point struct {
	Time    time.Time
	Added   float64 // messages a second that were added to the topic since the point before
	Handled float64 // messages a second that the group handled since then; below 0 after a Reset
	Lag     Lag
	Pending int64
	Oldest  time.Duration
}

// Points returns the points of a group, the oldest first. The first snapshot makes none.
func (h *History) Points(topic, group string) []Point { panic("to do") }
