package subscription

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

const (
	// claimPage is how many rows of the pending list one call returns. claimPages is how many calls
	// are made in a row before new entries are read.
	claimPage  = 100
	claimPages = 10
)

// recovery finds entries that are pending and that nobody works on: those in a reply that was lost,
// those of an earlier process of our name, and those of consumers that are idle or released them.
// The reader's goroutine uses it, so that claimed entries are part of the reader's budget.
type recovery struct {
	Group

	holds      func(id string) bool // whether the inbox holds an entry
	callbacks  *callbacks
	observer   Observer // nil: none
	checkpoint *checkpoint

	ownCursor string      // where the search for our own entries continues; empty: it is over
	replyLost bool        // a lost reply is the reason for it; otherwise an earlier process
	ownFound  bool        // it claimed something
	knowsOwn  atomic.Bool // no pending entry of an earlier process is unknown; Close reads it

	claimsAll  bool   // the scan claims whatever others have: nobody else may work on it
	scanCursor string // where the scan of the pending list continues
	scanFound  bool   // it claimed something
	scanDue    time.Time
	sharing    bool // the time of the next scan is one of shared looks
	frozen     frozenIdle

	failing time.Time // since when next fails; zero: it does not
	report  claimReport
}

func newRecovery(g Group, s *Subscription, checkpoint *checkpoint) *recovery {
	r := &recovery{
		Group: g, holds: s.inbox.holds, callbacks: s.callbacks, observer: s.Observer, checkpoint: checkpoint,
		scanCursor: "-", scanDue: time.Now(), report: claimReport{logger: s.Logger},
	}
	r.frozen = frozenIdle{
		minIdle: g.ClaimMinIdle, pending: g.Stream.Pending, isAbandoned: r.isAbandoned, holds: s.inbox.holds,
		cursor: "-", due: time.Now().Add(g.ClaimMinIdle / frozenShare),
	}
	r.knowsOwn.Store(true)
	if g.EarlierProcess {
		r.searchOwn(false)
	}
	return r
}

// untilDue is the time until next has something to do.
func (r *recovery) untilDue() time.Duration {
	if r.ownCursor != "" {
		return 0
	}
	return time.Until(r.scanDue)
}

// gap is the ID from which on entries are still to be claimed, by a search that claimed some
// already; empty: there is none. Newer entries wait, so that they are not delivered before those.
func (r *recovery) gap() (id string) {
	if r.ownFound {
		id = r.ownCursor
	}
	if r.scanFound && (id == "" || stream.Precedes(r.scanCursor, id)) {
		id = r.scanCursor
	}
	return id
}

// next returns entries that are ours to work on now, if it is time to search any. Without room it
// only saves the checkpoint.
func (r *recovery) next(ctx context.Context, room room) ([]stream.Entry, error) {
	entries, err := r.search(ctx, room)
	switch {
	case err == nil:
		r.failing = time.Time{}
	case r.failing.IsZero():
		r.failing = time.Now()
	case time.Since(r.failing) > r.ClaimMinIdle:
		r.ownFound, r.scanFound = false, false // newer entries have waited long enough
	}
	return entries, err
}

func (r *recovery) search(ctx context.Context, room room) ([]stream.Entry, error) {
	if !r.checkpoint.exists() || room.entries == 0 && r.checkpoint.untilDue() <= 0 {
		if info, err := r.checkpoint.update(ctx); err != nil || info.Paused {
			return nil, err
		}
	}
	if room.entries == 0 {
		return nil, nil
	}
	if r.ownCursor != "" {
		entries, err := r.claimOwn(ctx, room)
		if len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	if time.Until(r.scanDue) > 0 {
		return nil, nil
	}
	return r.scan(ctx, room)
}

// claim takes over entries of a page, as many as there is room for. It returns them and where to
// continue; empty: the list ends here.
func (r *recovery) claim(ctx context.Context, claim stream.Claim, page []stream.PendingEntry, room room) (_ []stream.Entry, next string, _ error) {
	if len(page) == claimPage {
		next = stream.After(page[len(page)-1].ID)
	}
	if len(claim.Rows) == 0 {
		return nil, next, nil
	}
	claim.Limit = room.limit()
	claimed, err := r.Stream.Claim(ctx, claim)
	if err != nil {
		return nil, "", err
	}
	r.report.add(claim, claimed)
	if r.observer != nil && len(claimed.Entries) > 0 && !claim.KeepIdle {
		released := countReleased(claim, claimed)
		r.observer.TakenOver(len(claimed.Entries)-released, released)
	}
	if claimed.Tried < len(claim.Rows) {
		next = claim.Rows[claimed.Tried].ID
	}
	return claimed.Entries, next, nil
}

func choose(rows []stream.PendingEntry, want func(stream.PendingEntry) bool) (chosen []stream.PendingEntry) {
	for _, row := range rows {
		if want(row) {
			chosen = append(chosen, row)
		}
	}
	return chosen
}
