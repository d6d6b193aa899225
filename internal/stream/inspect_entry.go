package stream

import (
	"context"
	"time"
)

// HandledEntry is what a group did with an entry.
type HandledEntry struct {
	Group    string
	Position string     // the newest ID that was delivered to the group
	Pending  PendingRow // no ID: it is not pending
	Parked   bool       // it is in the retry queue
}

// Handled returns what each group did with an entry, and the server's time.
func (i *Inspection) Handled(ctx context.Context, id string) (groups []HandledEntry, now time.Time, err error) {
	for skip := 0; ; skip += groupsPage {
		r, err := i.run(ctx, call{
			inspectEntryScript,
			[]string{i.keys.Stream},
			[]any{id, i.keys.RetryQueues, skip, groupsPage},
			groupsPage * groupTime,
		})
		if err != nil {
			return nil, now, err
		}
		now = r.now()
		page := r.list(1)
		for n := range page {
			g := page.list(n)
			groups = append(groups, HandledEntry{
				Group: g.text(0), Position: g.text(1), Pending: pendingRowOf(g.list(2)), Parked: g.number(3) == 1,
			})
		}
		if len(page) < groupsPage {
			return groups, now, nil
		}
	}
}
