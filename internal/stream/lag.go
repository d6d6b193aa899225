package stream

import (
	"context"
	"time"
)

// The bounds of counting entries.
const (
	countPage  = 500
	countBytes = 1 << 20
	countCalls = 20
	countTime  = 50 * time.Millisecond
)

// Lag is how many entries were not delivered to a group.
type Lag struct {
	N     int64
	Exact bool // otherwise there are at most N
}

// Lag returns the lag of a group. The server's own number is null or wrong after entries were
// deleted or trimmed (redis/redis issues 13337 and 13957). So it counts only where nothing ever was;
// else entries are counted, from the position of the group on and up to it, until one end is reached.
func (i *Inspection) Lag(ctx context.Context, group GroupState) (Lag, error) {
	state, position := group.Stream, group.Position
	switch {
	case state.Length == 0 || !Precedes(position, state.Newest):
		return Lag{0, true}, nil
	case Precedes(position, state.First):
		return Lag{state.Length, true}, nil
	case state.untouched() && group.Read >= 0 && group.Lag >= 0:
		return Lag{group.Lag, true}, nil
	}
	counted, err := i.countLag(ctx, state, position)
	if err != nil || counted.Exact {
		return counted, err
	}
	// Entries that were trimmed before the group got them make the number of the server too high.
	if !Precedes(position, state.Deleted) && group.Lag >= 0 {
		counted.N = min(counted.N, group.Lag)
	}
	return counted, nil
}

// untouched reports whether no entry was ever deleted or trimmed.
func (s State) untouched() bool { return s.Added == s.Length && !Precedes("0", s.Deleted) }

// removed is how many entries were deleted or trimmed.
func (s State) removed() int64 { return s.Added - s.Length }

// side is one of the two ways to count.
type side struct {
	from, to string // empty from: it has ended
	n        int64
	state    State // after the last page
}

// countLag counts the entries after the position, and those up to it, in turn, until one of both
// ends. Entries that are added meanwhile count on neither side. If entries are removed meanwhile,
// nothing is known but the length.
func (i *Inspection) countLag(ctx context.Context, state State, position string) (Lag, error) {
	after := side{from: "(" + position, to: state.Newest}
	before := side{from: "-", to: position}
	for started, calls := time.Now(), 0; calls < countCalls && time.Since(started) < countTime; calls += 2 {
		for _, s := range []*side{&after, &before} {
			if err := i.countPage(ctx, s); err != nil {
				return Lag{}, err
			}
			if s.state.removed() != state.removed() || s.state.Deleted != state.Deleted {
				return Lag{N: state.Length}, nil
			}
			if s.from != "" {
				continue
			}
			if s == &after {
				return Lag{after.n, true}, nil
			}
			return Lag{state.Length - before.n, true}, nil
		}
	}
	return Lag{N: state.Length - before.n}, nil
}

func (i *Inspection) countPage(ctx context.Context, s *side) error {
	c := call{countEntriesScript, []string{i.keys.Stream}, []any{s.from, s.to, countPage, countBytes}}
	r, err := i.run(ctx, c)
	if err != nil {
		return err
	}
	s.n += r.number(0)
	s.from = r.text(1)
	s.state = stateOf(r.list(2))
	return nil
}
