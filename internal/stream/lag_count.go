package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// count counts the entries after the position of a group, and those up to it, in turn, until one of
// both ends. Entries that are added during the count are on neither side. If entries are removed
// during the count, only the length is known.
type count struct {
	stream        string
	state         State // when it begins
	after, before side
	turns         int
	lag           Lag // so far
	err           error
}

// side is one of the two ways to count.
type side struct {
	from, to string
	n        int64
}

func newCount(stream string, group GroupState) *count {
	return &count{
		stream: stream, state: group.Stream, lag: Lag{N: group.Stream.Length},
		after:  side{from: "(" + group.Position, to: group.Stream.Newest},
		before: side{from: "-", to: group.Position},
	}
}

// countAll counts with bounds of calls and time, all counts together.
func countAll(ctx context.Context, client redis.UniversalClient, counts []*count) {
	until := time.Now().Add(countTime + time.Duration(len(counts)-1)*countTimeMore)
	next := func(n, _ int) call {
		s := counts[n].side()
		return call{countEntriesScript, []string{counts[n].stream}, []any{s.from, s.to, countPage, countBytes}, pipelineTime}
	}
	runPages(ctx, client, len(counts), next, func(n int, reply *redis.Cmd) bool {
		goesOn := counts[n].add(reply)
		return goesOn && counts[n].turns < countCalls && time.Now().Before(until)
	})
}

// side returns the side that is counted next.
func (c *count) side() *side {
	if c.turns%2 == 0 {
		return &c.after
	}
	return &c.before
}

// add adds a page, and reports whether to go on.
func (c *count) add(reply *redis.Cmd) bool {
	list, err := reply.Slice()
	if err != nil {
		c.err = err
		return false
	}
	r, s := row(list), c.side()
	c.turns++
	s.n += r.number(0)
	s.from = r.text(1)
	now := stateOf(r.list(2))
	switch {
	case now.removed() != c.state.removed() || now.Deleted != c.state.Deleted:
		c.lag = Lag{N: c.state.Length}
		return false
	case s.from == "" && s == &c.after:
		c.lag = Lag{s.n, true}
		return false
	case s.from == "":
		c.lag = Lag{c.state.Length - s.n, true}
		return false
	}
	c.lag = Lag{N: c.state.Length - c.before.n}
	return true
}
