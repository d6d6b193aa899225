package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// ResetTo is where a group is set to. Exactly one of ID, Time and Ago is set.
type ResetTo struct {
	ID     string        // the group gets what is newer than this entry; "0": everything; "$": only what is added from now on
	Time   time.Time     // the group gets what was added then or later
	Ago    time.Duration // as Time, that long ago by the server's clock
	DryRun bool
}

// Reset is what Reset did, or, in a dry run, would do.
type Reset struct {
	From, To      string // the position before and after: the newest entry that counts as delivered; of partitions: the oldest
	Before, After Lag    // entries that no consumer has got, before and after
	Acknowledged  int64  // pending entries up to To: they are not delivered again
	DryRun        bool   // nothing was changed
}

// Errors of ResetTo.
var (
	errOnePlace = errors.New("set one of ID, Time and Ago")
	errBeyond   = errors.New("the ID is beyond the newest entry")
)

// Reset sets the position of a group (XGROUP SETID). Then it acknowledges the pending entries up to
// that position (XACK, 500 in a step). All entries after the position are delivered again, also
// pending ones. The retry queue does not change. Members need not stop; messages after the position
// that their handlers have are handled again. An ack that is on its way still counts, so a message
// that a handler acked just before may not come again: pause the group first where it must. If Reset
// is interrupted, run it again.
//
// The error wraps ErrNoTopic or ErrNoGroup, or ErrInvalidID if the ID is invalid or beyond the
// newest entry, of all partitions. An ID sets each partition to about that time.
func (a *Admin) Reset(ctx context.Context, topic, group string, to ResetTo) (Reset, error) {
	reset := Reset{DryRun: to.DryRun, Before: Lag{Exact: LagExact}, After: Lag{Exact: LagExact}}
	about, err := a.Topic(ctx, topic)
	if err == nil {
		err = a.onEach(ctx, topic, func(name string) error {
			one, err := a.reset(ctx, name, group, about.LastID, to)
			if !isMissing(err) {
				reset.add(one)
			}
			return err
		})
	}
	if err != nil {
		return reset, fmt.Errorf("reset: %w", groupError(topic, group, err))
	}
	return reset, nil
}

// add adds what was done in a partition.
func (r *Reset) add(p Reset) {
	r.From, r.To = older(r.From, p.From), older(r.To, p.To)
	r.Before, r.After = r.Before.and(p.Before), r.After.and(p.After)
	r.Acknowledged += p.Acknowledged
}

// reset resets the group of one stream. newest is the newest ID of the topic.
func (a *Admin) reset(ctx context.Context, topic, group, newest string, to ResetTo) (reset Reset, err error) {
	inspection := a.inspect(topic)
	about, err := a.checkGroup(ctx, topic, group)
	if err != nil {
		return reset, err
	}
	state := about.Stream
	reset = Reset{From: about.Position, DryRun: to.DryRun}
	if reset.To, err = to.id(state, newest); err != nil {
		return reset, err
	}
	before, err := inspection.Lag(ctx, about)
	if err != nil {
		return reset, err
	}
	after, err := inspection.Lag(ctx, stream.GroupState{Stream: state, Position: reset.To, Read: -1, Lag: -1})
	if err != nil {
		return reset, err
	}
	reset.Before, reset.After = lagOf(before), lagOf(after)
	repair := a.repair(topic, group)
	if !to.DryRun {
		read := int64(-1)
		if after.Exact {
			read = state.Added - after.N
		}
		if err := repair.SetPosition(ctx, reset.To, read); err != nil {
			return reset, err
		}
	}
	reset.Acknowledged, err = repair.AcknowledgeUpTo(ctx, reset.To, to.DryRun)
	return reset, err
}

// id returns the position after the reset.
func (to ResetTo) id(state stream.State, newest string) (id string, err error) {
	set := 0
	if to.ID != "" {
		id, set = to.ID, set+1
	}
	if !to.Time.IsZero() {
		id, set = before(to.Time), set+1
	}
	if to.Ago != 0 {
		id, set = before(state.Now.Add(-to.Ago)), set+1
	}
	switch {
	case set != 1:
		return "", errOnePlace
	case id == "$":
		return state.Last, nil
	case !stream.ValidID(id):
		return "", fmt.Errorf("%q: %w", id, ErrInvalidID)
	case stream.Precedes(state.Last, id) && stream.Precedes(newest, id) && to.ID != "":
		return "", fmt.Errorf("%q: %w: %w, which is %s", id, ErrInvalidID, errBeyond, newest)
	case stream.Precedes(state.Last, id):
		return state.Last, nil
	}
	return id, nil
}

// before returns the position after which all entries were added at that time or later.
func before(t time.Time) string {
	if t.UnixMilli() <= 0 {
		return "0-0"
	}
	return stream.Before(IDAt(t))
}
