package subscription

import (
	"context"

	"github.com/millrace/redisstream/internal/stream"
)

// searchOwn begins a search for entries that are pending for our name and that the inbox does not
// hold: a reply was lost, or, at the start, an earlier process with our name had them.
func (r *recovery) searchOwn(replyLost bool) {
	if r.ownCursor == "" {
		r.replyLost = replyLost
	}
	r.ownCursor, r.ownFound = "-", false
	if !replyLost {
		r.knowsOwn.Store(false)
	}
}

// claimOwn claims the next of these entries. It keeps their idle time: if the reply is lost each
// time, another consumer may take the entry over after ClaimMinIdle.
func (r *recovery) claimOwn(ctx context.Context, room room) ([]stream.Entry, error) {
	for range claimPages {
		rows, err := r.Stream.Pending(ctx, stream.Page{From: r.ownCursor, Count: claimPage, Own: true})
		if err != nil {
			return nil, err
		}
		claim := stream.Claim{Rows: choose(rows, r.isMissing), ReplyLost: r.replyLost, KeepIdle: true}
		entries, next, err := r.claim(ctx, claim, rows, room)
		if err != nil {
			return nil, err
		}
		r.ownCursor, r.ownFound = next, next != "" && (r.ownFound || len(entries) > 0)
		if next == "" {
			r.knowsOwn.Store(true)
			r.report.flush()
		}
		if len(entries) > 0 || next == "" {
			return entries, nil
		}
	}
	return nil, nil
}

// isMissing reports whether an entry is ours and unknown here. After a lost reply it leaves out
// released entries: the scan claims those, in order and with the right number of deliveries.
func (r *recovery) isMissing(row stream.PendingEntry) bool {
	return !r.holds(row.ID) && (!r.replyLost || row.Idle < releasedIdle)
}
