package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Group is a consumer group of a topic.
type Group struct {
	Topic     string
	Name      string
	State     GroupState
	Members   int    // consumers that are alive; members that share partitions, also those that stand by
	Consumers int    // consumers, also dead ones
	Position  string // the newest entry that was delivered; empty: the topic has partitions
	Lag       Lag    // entries that no consumer has got yet
	Pending   int64  // entries that a consumer got, and that are not acknowledged
	Parked    int64  // messages in the group's retry queue

	OldestID  string        // the oldest entry that is pending or not delivered yet; empty: none
	OldestAge time.Duration // since it was added, by the server's clock

	MaxDeliveries int64  // the highest delivery count of the 1,000 oldest pending entries
	BlockedBy     string // the entry behind which others wait; empty: none, or unknown
	Hung          int    // members with a handler that has had a message for longer than Config.HungAfter
	Paused        *Pause // nil: it is not paused, in no partition
	Owner         *Owner // the active consumer of an exclusive group; nil: none, or Partitions tells them

	// BlocksTrimming: TrimInterval waits for this group. Its oldest entry that is not acknowledged
	// is the oldest of all groups. Several groups may wait for the same entry.
	BlocksTrimming bool
}

// GroupState is the state of a group in one word.
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
func (g Group) Describe() string {
	text := string(g.State)
	switch g.State {
	case GroupWorking, GroupIdle:
		return text
	case GroupBlocked:
		text = "blocked by " + g.BlockedBy
	case GroupPaused:
		if g.Paused != nil && g.Paused.By != "" {
			text += " by " + g.Paused.By
		}
	case GroupAbandoned, GroupHung:
	}
	if g.BlocksTrimming {
		text += ", blocks trimming"
	}
	return text
}

// Lag is a number of entries.
type Lag struct {
	N     int64
	Exact LagKind
}

// LagKind says whether a Lag is exact.
type LagKind uint8

// The kinds of a lag. The server's own number is wrong after entries were deleted or trimmed before
// the group got them (redis/redis issues 13337, 13957).
const (
	LagUnknown LagKind = iota
	LagAtMost          // there are at most N
	LagExact           // there are N
)

// and returns the sum, which is exact if both are.
func (l Lag) and(other Lag) Lag { return Lag{N: l.N + other.N, Exact: min(l.Exact, other.Exact)} }

// String returns "12", "at most 12" or "unknown".
func (l Lag) String() string {
	switch l.Exact {
	case LagExact:
		return strconv.FormatInt(l.N, 10)
	case LagAtMost:
		return "at most " + strconv.FormatInt(l.N, 10)
	case LagUnknown:
	}
	return "unknown"
}

// Groups returns the consumer groups of a topic, in the order of their names. The error wraps
// ErrNoTopic.
func (a *Admin) Groups(ctx context.Context, topic string) ([]Group, error) {
	names, err := a.streams(ctx, topic)
	if err != nil {
		return nil, err
	}
	surveyed := make([]stream.Surveyed, len(names))
	for i, name := range names {
		surveyed[i] = stream.Surveyed{InspectedKeys: keysOf(name), Groups: unknownGroups}
	}
	reports := stream.Survey(ctx, a.client, surveyed)
	for i, report := range reports {
		if report.Err != nil && (len(names) == 1 || !stream.IsNoStream(report.Err)) {
			return nil, topicError(names[i], report.Err)
		}
	}
	groups := a.groupsIn(topic, names, reports)
	if names[0] != topic {
		if err := a.countMembers(ctx, pointers(groups)); err != nil {
			return nil, topicError(topic, err)
		}
	}
	return groups, nil
}

func pointers(groups []Group) []*Group {
	list := make([]*Group, len(groups))
	for i := range groups {
		list[i] = &groups[i]
	}
	return list
}

// unknownGroups is the number of groups that a survey assumes for a topic whose groups were not
// counted.
const unknownGroups = 50

// Group returns a consumer group. The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Group(ctx context.Context, topic, group string) (Group, error) {
	groups, err := a.Groups(ctx, topic) // what blocks trimming depends on all
	if err != nil {
		return Group{}, err
	}
	for _, g := range groups {
		if g.Name == group {
			return g, nil
		}
	}
	return Group{}, groupError(topic, group, ErrNoGroup)
}

// checkGroup returns the state of the group of one stream. The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) checkGroup(ctx context.Context, topic, group string) (stream.GroupState, error) {
	_, states, err := a.inspect(topic).Groups(ctx, group)
	if err == nil && len(states) == 0 {
		err = ErrNoGroup
	}
	if err != nil {
		return stream.GroupState{}, groupError(topic, group, err)
	}
	return states[0], nil
}

// groupsOf returns groups in the order of their names.
func (a *Admin) groupsOf(topic string, reports []stream.GroupReport) []Group {
	groups := make([]Group, len(reports))
	for i, r := range reports {
		groups[i] = groupOf(topic, r.GroupState)
		groups[i].Lag, groups[i].MaxDeliveries = lagOf(r.Counted), r.MaxDeliveries
		a.addMembers(&groups[i], r)
	}
	markTrimming(groups, reports)
	for i := range groups {
		groups[i].State = stateOf(groups[i])
	}
	slices.SortFunc(groups, func(x, y Group) int { return strings.Compare(x.Name, y.Name) })
	return groups
}

func groupOf(topic string, s stream.GroupState) Group {
	g := Group{
		Topic: topic, Name: s.Name, Position: s.Position, Pending: s.Pending, Parked: s.Parked,
		OldestID: older(s.Unread, s.Oldest.ID),
	}
	if g.OldestID != "" {
		g.OldestAge = ageOf(g.OldestID, s.Stream.Now)
	}
	g.Owner = ownerOf(s.Owner)
	if s.Paused != nil {
		g.Paused = &Pause{Since: s.Paused.Since, By: s.Paused.By, Reason: s.Paused.Reason}
	}
	return g
}

func lagOf(lag stream.Lag) Lag {
	if lag.Exact {
		return Lag{N: lag.N, Exact: LagExact}
	}
	return Lag{N: lag.N, Exact: LagAtMost}
}
