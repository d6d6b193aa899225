package stream

import (
	"context"
	"time"
)

const (
	// pendingPage is how many pending entries are read in one step.
	pendingPage = 500
	// deliveriesPage is in how many pending entries the highest delivery count is looked for.
	deliveriesPage = 1000
)

// PendingRow is a pending entry (XPENDING).
type PendingRow struct {
	ID         string
	Consumer   string // empty: nobody
	Idle       time.Duration
	Deliveries int64
}

func pendingRowOf(r row) PendingRow {
	return PendingRow{ID: r.text(0), Consumer: r.text(1), Idle: r.duration(2), Deliveries: r.number(3)}
}

// PendingFrom returns the oldest pending entries of a group from an ID on, and the server's time.
// consumer: only of this one; empty: of all. next is where the next page begins; empty: there is none.
func (i *Inspection) PendingFrom(ctx context.Context, group, from, consumer string) (rows []PendingRow, now time.Time, next string, err error) {
	r, err := i.run(ctx, call{
		pendingPageScript,
		[]string{i.keys.Stream},
		[]any{group, from, pendingPage, consumer, "list"},
	})
	if err != nil {
		return nil, time.Time{}, "", err
	}
	page := r.list(1)
	for n := range page {
		rows = append(rows, pendingRowOf(page.list(n)))
	}
	if len(rows) == pendingPage {
		next = After(rows[len(rows)-1].ID)
	}
	return rows, r.now(), next, nil
}

// MaxDeliveries returns the highest delivery count of the 1,000 oldest pending entries of each group.
func (i *Inspection) MaxDeliveries(ctx context.Context, groups []string) (counts map[string]int64, err error) {
	counts = make(map[string]int64, len(groups))
	for len(groups) > 0 {
		batch := groups[:min(len(groups), callsPage)]
		groups = groups[len(batch):]
		calls := make([]call, len(batch))
		for n, group := range batch {
			calls[n] = call{pendingPageScript, []string{i.keys.Stream}, []any{group, "-", deliveriesPage, "", "max"}}
		}
		for n, reply := range runAll(ctx, i.client, calls) {
			count, err := reply.Int64()
			if err != nil && !IsGroupGone(err) {
				return nil, err
			}
			counts[batch[n]] = count
		}
	}
	return counts, nil
}
