package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

const (
	// frozenPage is how many rows of the pending list are watched at a time.
	frozenPage = 1000
	// frozenLooks is how often at least a row must have been seen without idle time.
	frozenLooks = 3
	// frozenShare is how many looks there are in ClaimMinIdle: a page is large, and fast flows have no use for it.
	frozenShare = 10
)

// frozenIdle finds abandoned entries whose idle time stays 0: the server's clock was set back, and shows 0 until it is again where
// it was. A live consumer renews its leases, after which the idle time grows. So a row whose idle time is 0 at each look for
// ClaimMinIdle, by our clock, belongs to nobody. The reader's goroutine uses it.
type frozenIdle struct {
	*Config
	inbox     *inbox
	callbacks *callbacks

	due     time.Time // when to look next
	cursor  string    // where the page begins that is watched
	began   time.Time
	watched map[string]frozenRow // by ID
}

type frozenRow struct {
	stream.PendingEntry
	since time.Time
	looks int
}

func newFrozenIdle(config *Config, inbox *inbox, callbacks *callbacks) *frozenIdle {
	return &frozenIdle{Config: config, inbox: inbox, callbacks: callbacks, cursor: "-", due: time.Now().Add(config.ClaimMinIdle / frozenShare)}
}

// abandoned looks once at the page that is watched, if it is time to, and returns the rows to claim.
func (f *frozenIdle) abandoned(ctx context.Context) ([]stream.PendingEntry, error) {
	if time.Now().Before(f.due) {
		return nil, nil
	}
	f.due = time.Now().Add(f.ClaimMinIdle / frozenShare)
	rows, err := f.Group.Pending(ctx, stream.Page{From: f.cursor, Count: frozenPage})
	if err != nil {
		return nil, err
	}
	abandoned, open := f.look(rows)
	if len(abandoned) > 0 {
		f.due = time.Time{} // there may be room for some of them only
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

// look compares the page with what it was. It is done with when none of the rows is left that it began with.
func (f *frozenIdle) look(rows []stream.PendingEntry) (abandoned []stream.PendingEntry, open bool) {
	now, before := time.Now(), f.watched
	if before == nil {
		f.began = now
	}
	f.watched = make(map[string]frozenRow)
	for _, row := range rows {
		if row.Idle != 0 || f.inbox.owns(row.ID) {
			continue
		}
		watched, known := before[row.ID]
		if !known || watched.Consumer != row.Consumer || watched.Deliveries != row.Deliveries {
			watched = frozenRow{PendingEntry: row, since: now}
		}
		watched.looks++
		if watched.looks >= frozenLooks && now.Sub(watched.since) >= f.ClaimMinIdle {
			if !f.callbacks.mayClaim(f.ShouldClaim, row) {
				continue
			}
			abandoned = append(abandoned, row)
		}
		f.watched[row.ID] = watched
		open = open || watched.since.Equal(f.began)
	}
	return abandoned, open
}
