package stream

import "context"

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
}

// Groups returns the state of the stream and of its groups, or only of one group if it has a name.
func (i *Inspection) Groups(ctx context.Context, only string) (state State, groups []GroupState, err error) {
	known := make(map[string]struct{})
	for skip := 0; ; skip += groupsPage {
		r, err := i.run(ctx, call{
			inspectGroupsScript,
			[]string{i.keys.Stream},
			[]any{skip, groupsPage, only, i.keys.RetryQueues, i.keys.Pauses},
		})
		if err != nil {
			return State{}, nil, err
		}
		at, page := stateOf(r.list(0)), r.list(1)
		if skip == 0 {
			state = at
		}
		for n := range page {
			group := groupStateOf(page.list(n))
			group.Stream = at
			if _, again := known[group.Name]; !again { // a group before it was created or deleted meanwhile
				known[group.Name] = struct{}{}
				groups = append(groups, group)
			}
		}
		if len(page) < groupsPage {
			return state, groups, nil
		}
	}
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
	return group
}
