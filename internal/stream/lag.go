package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// The bounds of counting entries.
const (
	countPage  = 500
	countBytes = 1 << 20
	countCalls = 20
	// countTime is for one group, countTimeMore for each further one that is counted with it.
	countTime     = 500 * time.Millisecond
	countTimeMore = time.Millisecond
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
	lags, errs := lagsOf(ctx, i.client, []groupRef{{Inspection: i}}, []GroupState{group})
	return lags[0], errs[0]
}

// lagsOf is Lag for many groups.
func lagsOf(ctx context.Context, client redis.UniversalClient, groups []groupRef, states []GroupState) ([]Lag, []error) {
	lags, errs := make([]Lag, len(groups)), make([]error, len(groups))
	var counts []*count
	var of []int // the group of each count
	for n, g := range states {
		lag, known := g.knownLag()
		if lags[n] = lag; !known {
			counts = append(counts, newCount(groups[n].keys.Stream, g))
			of = append(of, n)
		}
	}
	countAll(ctx, client, counts)
	for i, c := range counts {
		g := states[of[i]]
		// Entries that were trimmed before the group got them make the number of the server too high.
		if !c.lag.Exact && !Precedes(g.Position, g.Stream.Deleted) && g.Lag >= 0 {
			c.lag.N = min(c.lag.N, g.Lag)
		}
		lags[of[i]], errs[of[i]] = c.lag, c.err
	}
	return lags, errs
}

// knownLag returns the lag if it is known without counting.
func (g GroupState) knownLag() (lag Lag, known bool) {
	state, position := g.Stream, g.Position
	switch {
	case state.Length == 0 || !Precedes(position, state.Newest):
		return Lag{0, true}, true
	case Precedes(position, state.First):
		return Lag{state.Length, true}, true
	case state.untouched() && g.Read >= 0 && g.Lag >= 0:
		return Lag{g.Lag, true}, true
	}
	return Lag{}, false
}

// untouched reports whether no entry was ever deleted or trimmed.
func (s State) untouched() bool { return s.Added == s.Length && !Precedes("0", s.Deleted) }

// removed is how many entries were deleted or trimmed.
func (s State) removed() int64 { return s.Added - s.Length }
