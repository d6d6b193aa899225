package subscription

import (
	"context"

	"github.com/millrace/redisstream/internal/stream"
)

// scan claims idle entries of the pending list. The next call continues at once, until the end of
// the list.
func (r *recovery) scan(ctx context.Context, room room) ([]stream.Entry, error) {
	if r.scanCursor == "-" || r.checkpoint.untilDue() <= 0 {
		if pending, err := r.anyPending(ctx); !pending {
			return nil, err
		}
		if entries, err := r.claimFrozen(ctx, room); len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	minIdle := r.ClaimMinIdle
	if r.claimsAll {
		minIdle = 0
	}
	wanted := 0
	for range claimPages {
		rows, err := r.Stream.Pending(ctx, stream.Page{From: r.scanCursor, Count: claimPage, Idle: minIdle, Own: r.NeverClaim})
		if err != nil {
			return nil, err
		}
		claim := stream.Claim{Rows: choose(rows, r.isAbandoned), MinIdle: minIdle}
		wanted += len(claim.Rows)
		entries, next, err := r.claim(ctx, claim, rows, room)
		if err != nil {
			return nil, err
		}
		r.scanCursor, r.scanFound = next, r.scanFound || len(entries) > 0
		if next == "" {
			r.finishScan()
		}
		if len(entries) > 0 || next == "" {
			return entries, nil
		}
	}
	if wanted == 0 {
		r.postponeScan() // the cursor stays, so the rest of a long list is scanned next
	}
	return nil, nil
}

// anyPending reports whether there is anything to scan. If the group has no pending entries, the
// scan is over. If the group is paused, the scan comes after the pause.
func (r *recovery) anyPending(ctx context.Context) (bool, error) {
	info, err := r.checkpoint.update(ctx)
	if err != nil || info.Paused {
		return false, err
	}
	if info.Pending == 0 {
		r.finishScan()
	}
	return info.Pending > 0, nil
}

// isAbandoned reports whether an idle entry may be claimed. It may be our own: the server may hand
// an entry to a connection that we gave up. ShouldClaim is not asked about what a pause released,
// also if only the server knew of it: nobody else may want it.
func (r *recovery) isAbandoned(row stream.PendingEntry) bool {
	if r.holds(row.ID) {
		return false
	}
	return r.claimsAll || row.Consumer == r.Consumer && row.Idle > releasedIdle || r.callbacks.mayClaim(r.ShouldClaim, row)
}

// claimFrozen claims abandoned entries that have no idle time, because the server's clock was set
// back.
func (r *recovery) claimFrozen(ctx context.Context, room room) ([]stream.Entry, error) {
	if r.NeverClaim || r.claimsAll {
		return nil, nil
	}
	rows, err := r.frozen.abandoned(ctx)
	if err != nil {
		return nil, err
	}
	entries, _, err := r.claim(ctx, stream.Claim{Rows: rows, Frozen: true}, rows, room)
	return entries, err
}

func (r *recovery) finishScan() {
	r.scanCursor = "-"
	r.postponeScan()
}

func (r *recovery) postponeScan() {
	r.postponeLook()
	r.scanFound = false
	r.report.flush()
}
