package admin

import (
	"context"
	"fmt"
	"time"
)

// Group is a consumer group of a topic.
type Group struct {
	Topic     string
	Name      string
	State     GroupState
	Members   int    // consumers that are alive
	Consumers int    // consumers, also dead ones
	Position  string // the newest entry that was delivered
	Lag       Lag    // entries that no consumer has got yet
	Pending   int64  // entries that a consumer got, and that are not acknowledged
	Parked    int64  // messages in the group's retry queue

	OldestID  string        // the oldest entry that is pending or not delivered yet; empty: none
	OldestAge time.Duration // since it was added, by the server's clock

	MaxDeliveries int64  // the highest delivery count of the 1,000 oldest pending entries
	BlockedBy     string // the entry behind which others wait; empty: none, or unknown
	Hung          int    // members with a handler that has had a message for longer than Config.HungAfter
	Paused        *Pause // nil: it is not paused

	// BlocksTrimming: it is the group that TrimInterval waits for. Its oldest entry that is not
	// acknowledged is older than that of all other groups.
	BlocksTrimming bool
}

// GroupState is what an engineer has to know of a group first.
type GroupState string

// The states of a group, the first that applies.
const (
	GroupPaused    GroupState = "paused"    // Pause
	GroupAbandoned GroupState = "abandoned" // it has no live member, and entries to handle
	GroupHung      GroupState = "hung"      // a handler does not return
	GroupBlocked   GroupState = "blocked"   // an entry fails again and again, and others wait behind it
	GroupWorking   GroupState = "working"   // it has entries to handle
	GroupIdle      GroupState = "idle"      // everything is handled
)

// Describe returns the state in words, such as "blocked by 1795520068644-0" or "abandoned, blocks
// trimming".
func (g Group) Describe() string { panic("to do") }

// Lag is a number of entries.
type Lag struct {
	N     int64
	Exact LagKind
}

// LagKind tells how much of a Lag is known.
type LagKind uint8

// The kinds of a lag. The server's own number is wrong after entries were deleted or trimmed before
// the group got them (redis/redis issues 13337, 13957).
const (
	LagUnknown LagKind = iota
	LagAtMost          // there are at most N
	LagExact           // there are N
)

// String returns "12", "at most 12" or "unknown".
func (l Lag) String() string { return fmt.Sprint(l.N) }

// Groups returns the consumer groups of a topic, in the order of their names. The error wraps
// ErrNoTopic.
func (a *Admin) Groups(ctx context.Context, topic string) ([]Group, error) { panic("to do") }

// Group returns a consumer group. The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Group(ctx context.Context, topic, group string) (Group, error) { panic("to do") }
