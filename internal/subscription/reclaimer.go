package subscription

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

const (
	// claimPage is how many rows of the pending list one call returns, claimPages how many calls
	// a turn makes that finds nothing to claim in them.
	claimPage  = 100
	claimPages = 10
)

// reclaimer finds entries that are pending and that nobody works on: those of consumers that fell
// silent or released them, and those that the server handed to us in a reply that we never
// saw. The reader's goroutine uses it, so that what it claims is part of the reader's budget.
type reclaimer struct {
	*Config
	inbox      *inbox
	checkpoint *checkpoint

	own     string // where the search for our own entries goes on; empty: none to find
	ownLost bool   // whether a lost reply is the reason: else an earlier process had them
	cursor  string // where the next turn goes on in the pending list
	frozen  *frozenIdle
	due     time.Time
}

func newReclaimer(config *Config, inbox *inbox, checkpoint *checkpoint) *reclaimer {
	return &reclaimer{Config: config, inbox: inbox, checkpoint: checkpoint, cursor: "-", frozen: newFrozenIdle(config, inbox), due: time.Now()}
}

// searchOwn begins a search for entries that are pending for us and not in the inbox, because a reply was lost or, at
// the start, because an earlier process of our name had them.
func (r *reclaimer) searchOwn(lost bool) {
	if r.own == "" {
		r.ownLost = lost
	}
	r.own = "-"
}

// untilDue is the time to the next turn.
func (r *reclaimer) untilDue() time.Duration {
	return time.Until(r.due)
}

// next returns up to room entries that are ours to work on now, if it is time to look for any. Without room it only
// saves the checkpoint.
func (r *reclaimer) next(ctx context.Context, room int) ([]stream.Entry, error) {
	if room == 0 || !r.checkpoint.isSaved() {
		if _, err := r.checkpoint.save(ctx); err != nil || room == 0 {
			return nil, err
		}
	}
	if r.own != "" {
		entries, err := r.findOwn(ctx, room)
		if len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	if r.untilDue() > 0 {
		return nil, nil
	}
	return r.turn(ctx, room)
}

func (r *reclaimer) findOwn(ctx context.Context, room int) ([]stream.Entry, error) {
	for r.own != "" {
		rows, err := r.Group.Pending(ctx, stream.Page{From: r.own, Count: claimPage, Own: true})
		if err != nil {
			return nil, err
		}
		wanted, next := r.choose(rows, room, r.isMissing)
		entries, err := r.claim(ctx, stream.Claim{Rows: wanted, Lost: r.ownLost})
		if err != nil {
			return nil, err
		}
		r.own = next
		if len(entries) > 0 {
			return entries, nil
		}
	}
	return nil, nil
}

// turn looks through the pending list for what fell idle.
func (r *reclaimer) turn(ctx context.Context, room int) ([]stream.Entry, error) {
	status, err := r.checkpoint.save(ctx)
	if err != nil {
		return nil, err
	}
	if status.Pending == 0 || r.NeverClaim {
		r.finishTurn()
		return nil, nil
	}
	if entries, err := r.claimFrozen(ctx, room); len(entries) > 0 || err != nil {
		return entries, err
	}
	for range claimPages {
		rows, err := r.Group.Pending(ctx, stream.Page{From: r.cursor, Count: claimPage, Idle: r.ClaimMinIdle})
		if err != nil {
			return nil, err
		}
		wanted, next := r.choose(rows, room, r.isAbandoned)
		entries, err := r.claim(ctx, stream.Claim{Rows: wanted, MinIdle: r.ClaimMinIdle})
		if err != nil {
			return nil, err
		}
		r.cursor = next
		if next == "" {
			r.finishTurn()
		}
		if len(entries) > 0 || next == "" {
			return entries, nil
		}
	}
	r.postpone() // the cursor stays where it is: the tail of a long list has its turn
	return nil, nil
}

// claimFrozen claims what is abandoned though the server's clock, which was set back, shows no idle time.
func (r *reclaimer) claimFrozen(ctx context.Context, room int) ([]stream.Entry, error) {
	rows, err := r.frozen.abandoned(ctx)
	if err != nil {
		return nil, err
	}
	return r.claim(ctx, stream.Claim{Rows: rows[:min(room, len(rows))], Frozen: true})
}

func (r *reclaimer) finishTurn() {
	r.cursor = "-"
	r.postpone()
}

// postpone sets the time of the next turn; the consumers of a group drift apart.
func (r *reclaimer) postpone() {
	r.due = time.Now().Add(r.ClaimInterval - rand.N(r.ClaimInterval/4+1))
}

// choose picks up to room rows and returns where to go on; empty: the list ends here.
func (r *reclaimer) choose(rows []redis.XPendingExt, room int, want func(redis.XPendingExt) bool) (chosen []redis.XPendingExt, next string) {
	for _, row := range rows {
		if len(chosen) == room {
			return chosen, row.ID
		}
		if want(row) {
			chosen = append(chosen, row)
		}
	}
	if len(rows) < claimPage {
		return chosen, ""
	}
	return chosen, stream.After(rows[len(rows)-1].ID)
}

func (r *reclaimer) isMissing(row redis.XPendingExt) bool { return !r.inbox.owns(row.ID) }

// isAbandoned also finds our own: a connection that we gave up may be handed an entry later.
func (r *reclaimer) isAbandoned(row redis.XPendingExt) bool {
	return !r.inbox.owns(row.ID) && (r.ShouldClaim == nil || r.ShouldClaim(row))
}

func (r *reclaimer) claim(ctx context.Context, claim stream.Claim) ([]stream.Entry, error) {
	if len(claim.Rows) == 0 {
		return nil, nil
	}
	entries, trimmed, err := r.Group.Claim(ctx, claim)
	if len(trimmed) > 0 {
		r.Logger.Error("entries were trimmed from the stream before they were handled", errTrimmed, trimmedFields(trimmed))
	}
	return entries, err
}
