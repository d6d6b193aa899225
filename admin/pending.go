package admin

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// PendingEntry is an entry that a consumer got and has not acknowledged.
type PendingEntry struct {
	ID         string
	Stream     string        // that has it: the topic, or one of its partitions
	Age        time.Duration // since it was added
	Consumer   string
	Idle       time.Duration // since it was delivered, or since its lease was renewed
	HeldFor    time.Duration // how long its handler has had it; 0: unknown, or no handler has it for long
	Deliveries int64
}

// PendingFilter selects pending entries. The zero value selects all.
type PendingFilter struct {
	From     string        // the first ID; empty: the oldest
	Consumer string        // only of this one; empty: of all
	MinIdle  time.Duration // only what has this idle time; 0: all
}

// Pending iterates over the pending entries of a group, the oldest first (XPENDING in pages of
// 500). The error wraps ErrNoTopic, ErrNoGroup or ErrInvalidID.
func (a *Admin) Pending(ctx context.Context, topic, group string, filter PendingFilter) iter.Seq2[PendingEntry, error] {
	read := func(name string) iter.Seq2[PendingEntry, error] { return a.pendingIn(ctx, name, group, filter) }
	return merged(ctx, a, topic, read, func(x, y PendingEntry) bool { return stream.Precedes(x.ID, y.ID) })
}

// pendingIn is Pending of one stream.
func (a *Admin) pendingIn(ctx context.Context, topic, group string, filter PendingFilter) iter.Seq2[PendingEntry, error] {
	return func(yield func(PendingEntry, error) bool) {
		if filter.From != "" && !stream.ValidID(filter.From) {
			yield(PendingEntry{}, groupError(topic, group, fmt.Errorf("%q: %w", filter.From, ErrInvalidID)))
			return
		}
		inspection := a.inspect(topic)
		if _, err := a.checkGroup(ctx, topic, group); err != nil {
			yield(PendingEntry{}, err)
			return
		}
		held, err := a.heldBy(ctx, inspection, group)
		if err != nil {
			yield(PendingEntry{}, groupError(topic, group, err))
			return
		}
		for from := cmp.Or(filter.From, "-"); from != ""; {
			rows, now, next, err := inspection.PendingFrom(ctx, group, from, filter.Consumer)
			if err != nil {
				yield(PendingEntry{}, groupError(topic, group, err))
				return
			}
			for _, row := range rows {
				if row.Idle < filter.MinIdle {
					continue
				}
				entry := pendingOf(row, now, held)
				entry.Stream = topic
				if !yield(entry, nil) {
					return
				}
			}
			from = next
		}
	}
}

func pendingOf(row stream.PendingRow, now time.Time, held map[string]time.Time) PendingEntry {
	entry := PendingEntry{
		ID: row.ID, Age: ageOf(row.ID, now), Consumer: row.Consumer, Idle: max(row.Idle, 0), Deliveries: row.Deliveries,
	}
	if since, known := held[row.ID]; known {
		entry.HeldFor = max(now.Sub(since), 0)
	}
	return entry
}

// heldBy returns since when handlers have had entries, as far as the live members of a group report
// it.
func (a *Admin) heldBy(ctx context.Context, inspection *stream.Inspection, group string) (map[string]time.Time, error) {
	states, err := inspection.Consumers(ctx, group)
	if err != nil {
		return nil, err
	}
	held := make(map[string]time.Time)
	for _, c := range states.Consumers {
		if c.Record == nil || !isAlive(c, states.Now) {
			continue
		}
		for _, h := range c.Record.Held {
			held[h.ID] = c.Record.Reported.Add(-h.For)
		}
	}
	return held, nil
}

// ageOf returns how long ago an entry was added.
func ageOf(id string, now time.Time) time.Duration {
	added := timeOf(id)
	if added.IsZero() {
		return 0
	}
	return max(now.Sub(added), 0)
}
