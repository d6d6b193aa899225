package stream

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// groupsPage is how many groups are described in one step.
const groupsPage = 50

// GroupState is the state of a group.
type GroupState struct {
	Name          string
	Stream        State // at the same time
	Consumers     int
	Pending       int64
	Position      string     // the newest ID that was delivered
	Read, Lag     int64      // of the server; -1: unknown
	Oldest        PendingRow // the oldest pending entry that is in the stream; no ID: none
	OldestPending PendingRow // the oldest pending entry, also if it is no longer in the stream
	Unread        string     // the first entry that was not delivered; empty: none
	Parked        int64
	Paused        *PauseRecord
	Owner         *OwnerRecord // nil: nobody owns the stream
}

// groupTime is how long the server takes to describe a group, and a stream besides.
const groupTime = 20 * time.Microsecond

// streamGroups is the state of a stream and of its groups.
type streamGroups struct {
	State  State
	Groups []GroupState
	Err    error
}

// Groups returns the state of the stream and of its groups, or only of one group if it has a name.
func (i *Inspection) Groups(ctx context.Context, only string) (State, []GroupState, error) {
	r := groupsOf(ctx, i.client, []*Inspection{i}, only, func(int) int { return groupsPage })[0]
	return r.State, r.Groups, r.Err
}

// groupsOf is Groups for many streams. size returns about how many groups a stream has.
func groupsOf(
	ctx context.Context, client redis.UniversalClient, streams []*Inspection, only string, size func(n int) int,
) []streamGroups {
	replies := make([]streamGroups, len(streams))
	next := func(n, page int) call {
		keys := streams[n].keys
		return call{
			inspectGroupsScript,
			[]string{keys.Stream},
			[]any{page * groupsPage, groupsPage, only, keys.RetryQueues, keys.Pauses, keys.Owners},
			groupTime * time.Duration(2+min(size(n), groupsPage)),
		}
	}
	runPages(ctx, client, len(streams), next, func(n int, reply *redis.Cmd) bool { return replies[n].add(reply) })
	return replies
}

// add adds a page, and reports whether another one follows.
func (g *streamGroups) add(reply *redis.Cmd) bool {
	list, err := reply.Slice()
	if err != nil {
		*g = streamGroups{Err: err}
		return false
	}
	r := row(list)
	at, page := stateOf(r.list(0)), r.list(1)
	if len(g.Groups) == 0 {
		g.State = at
	}
	for n := range page {
		group := groupStateOf(page.list(n))
		group.Stream = at
		// If a group before it is created or deleted between two pages, a group may be returned
		// twice.
		if !slices.ContainsFunc(g.Groups, func(known GroupState) bool { return known.Name == group.Name }) {
			g.Groups = append(g.Groups, group)
		}
	}
	return len(page) == groupsPage
}

func groupStateOf(r row) GroupState {
	group := GroupState{
		Name: r.text(0), Consumers: int(r.number(1)), Pending: r.number(2), Position: r.text(3),
		Read: r.number(4), Lag: r.number(5), Oldest: pendingRowOf(r.list(6)), OldestPending: pendingRowOf(r.list(7)),
		Unread: r.text(8), Parked: r.number(9),
	}
	if text := r.text(10); text != "" {
		record, _ := ParsePauseRecord(text) // the key itself is what pauses the group
		group.Paused = &record
	}
	if owner := r.list(11); owner.text(0) != "" {
		generation, _ := strconv.ParseInt(owner.text(1), 10, 64)
		group.Owner = &OwnerRecord{Consumer: owner.text(0), Generation: generation, Lease: owner.duration(2)}
	}
	return group
}
