package admin

import (
	"context"
	"iter"
	"time"
)

// PendingEntry is an entry that a consumer got and has not acknowledged.
type PendingEntry struct {
	ID         string
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
// 1,000). The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Pending(ctx context.Context, topic, group string, filter PendingFilter) iter.Seq2[PendingEntry, error] {
	panic("to do")
}
