package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pendingPage is how many pending entries are read in one step.
	pendingPage = 500
	// deliveriesPage is in how many pending entries the highest delivery count is looked for.
	deliveriesPage = 1000
	// pendingTime is how long the server takes for one.
	pendingTime = 2 * time.Microsecond
)

// PendingRow is a pending entry (XPENDING).
type PendingRow struct {
	ID         string
	Consumer   string // empty: no consumer
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
		pendingPage * pendingTime,
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

// maxDeliveries returns the highest delivery count of the 1,000 oldest pending entries of each group.
func maxDeliveries(ctx context.Context, client redis.UniversalClient, groups []groupRef) (counts []int64, errs []error) {
	counts, errs = make([]int64, len(groups)), make([]error, len(groups))
	var calls []call
	var of []int // the group of each call
	for n, g := range groups {
		if g.pending > 0 {
			took := pendingTime * time.Duration(10+min(g.pending, deliveriesPage))
			calls = append(calls, call{pendingPageScript, []string{g.keys.Stream}, []any{g.group, "-", deliveriesPage, "", "max"}, took})
			of = append(of, n)
		}
	}
	for i, reply := range runAll(ctx, client, calls) {
		count, err := reply.Int64()
		if err != nil && !IsGroupGone(err) {
			errs[of[i]] = err
		}
		counts[of[i]] = count
	}
	return counts, errs
}
