package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

const (
	// frozenPage is how many pending entries are watched at a time.
	frozenPage = 1000
	// frozenChecks is how many checks must find a row without idle time.
	frozenChecks = 3
	// frozenShare is how many checks there are in ClaimMinIdle. They are few because a page is
	// large and rarely needed.
	frozenShare = 10
)

// frozenIdle finds abandoned entries whose idle time stays 0: the server's clock was set back, and
// the server reports 0 until the clock is again where it was. A live consumer renews its leases,
// and then the idle time grows. So a row whose idle time is 0 at each check for ClaimMinIdle, by
// our clock, is abandoned. The reader's goroutine uses it.
type frozenIdle struct {
	minIdle     time.Duration
	pending     func(context.Context, stream.Page) ([]stream.PendingEntry, error)
	isAbandoned func(stream.PendingEntry) bool // regardless of its idle time
	holds       func(id string) bool

	due     time.Time // of the next check
	cursor  string    // where the watched page begins
	began   time.Time
	watched map[string]frozenRow // by ID
}

type frozenRow struct {
	stream.PendingEntry
	since  time.Time
	checks int
}

// abandoned checks the page that is watched, if the check is due, and returns the rows to claim.
func (f *frozenIdle) abandoned(ctx context.Context) ([]stream.PendingEntry, error) {
	if time.Now().Before(f.due) {
		return nil, nil
	}
	f.due = time.Now().Add(f.minIdle / frozenShare)
	rows, err := f.pending(ctx, stream.Page{From: f.cursor, Count: frozenPage})
	if err != nil {
		return nil, err
	}
	abandoned, open := f.compare(rows)
	if len(abandoned) > 0 {
		f.due = time.Time{} // check again at once: there may be room for only some of them
	}
	switch more := len(rows) == frozenPage; {
	case open || f.cursor == "-" && !more: // there is no other page
	case more:
		f.watched, f.cursor = nil, stream.After(rows[frozenPage-1].ID)
	default:
		f.watched, f.cursor = nil, "-"
	}
	return abandoned, nil
}

// compare compares the page with the last check. The page stays open while it has rows from its
// first check.
func (f *frozenIdle) compare(rows []stream.PendingEntry) (abandoned []stream.PendingEntry, open bool) {
	now, before := time.Now(), f.watched
	if before == nil {
		f.began = now
	}
	f.watched = make(map[string]frozenRow)
	for _, row := range rows {
		if row.Idle != 0 || f.holds(row.ID) {
			continue
		}
		watched, known := before[row.ID]
		if !known || watched.Consumer != row.Consumer || watched.Deliveries != row.Deliveries {
			watched = frozenRow{PendingEntry: row, since: now}
		}
		watched.checks++
		if watched.checks >= frozenChecks && now.Sub(watched.since) >= f.minIdle {
			if !f.isAbandoned(row) {
				continue
			}
			abandoned = append(abandoned, row)
		}
		f.watched[row.ID] = watched
		open = open || watched.since.Equal(f.began)
	}
	return abandoned, open
}
