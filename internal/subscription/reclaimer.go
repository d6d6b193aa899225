package subscription

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// claimPage is how many rows of the pending list one call returns, claimPages how many calls
	// one turn makes in a row: then new entries are read.
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
	callbacks  *callbacks

	own      string      // where the search for our own entries goes on; empty: none to find
	ownLost  bool        // whether a lost reply is the reason: else an earlier process had them
	ownFound bool        // it claimed something
	knowsOwn atomic.Bool // no entry that an earlier process had is pending for us and unknown; Close reads it
	cursor   string      // where the next turn goes on in the pending list
	found    bool        // the turn claimed something
	failing  time.Time   // since when next fails; zero: it does not
	frozen   *frozenIdle
	due      time.Time
	report   claimReport
}

func newReclaimer(config *Config, inbox *inbox, checkpoint *checkpoint, callbacks *callbacks) *reclaimer {
	r := &reclaimer{
		Config: config, inbox: inbox, checkpoint: checkpoint, callbacks: callbacks,
		cursor: "-", frozen: newFrozenIdle(config, inbox, callbacks), due: time.Now(), report: claimReport{logger: config.Logger},
	}
	r.knowsOwn.Store(true)
	return r
}

// searchOwn begins a search for entries that are pending for us and not in the inbox, because a reply was lost or, at
// the start, because an earlier process of our name had them.
func (r *reclaimer) searchOwn(lost bool) {
	if r.own == "" {
		r.ownLost = lost
	}
	r.own, r.ownFound = "-", false
	if !lost {
		r.knowsOwn.Store(false)
	}
}

// untilDue is the time to the next call that has something to do.
func (r *reclaimer) untilDue() time.Duration {
	if r.own != "" {
		return 0
	}
	return time.Until(r.due)
}

// gap is the ID from which on entries are still to be claimed, by a search that claimed some already; empty: there is none. What is
// newer waits, so that it does not come before them.
func (r *reclaimer) gap() (id string) {
	if r.ownFound {
		id = r.own
	}
	if r.found && (id == "" || stream.Precedes(r.cursor, id)) {
		id = r.cursor
	}
	return id
}

// next returns entries that are ours to work on now, if it is time to look for any. Without room it only
// saves the group's checkpoint.
func (r *reclaimer) next(ctx context.Context, room room) ([]stream.Entry, error) {
	entries, err := r.look(ctx, room)
	switch {
	case err == nil:
		r.failing = time.Time{}
	case r.failing.IsZero():
		r.failing = time.Now()
	case time.Since(r.failing) > r.ClaimMinIdle:
		r.ownFound, r.found = false, false // what is newer has waited long enough
	}
	return entries, err
}

func (r *reclaimer) look(ctx context.Context, room room) ([]stream.Entry, error) {
	if room.entries == 0 || !r.checkpoint.isSaved() {
		if _, err := r.checkpoint.save(ctx); err != nil || room.entries == 0 {
			return nil, err
		}
	}
	if r.own != "" {
		entries, err := r.findOwn(ctx, room)
		if len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	if time.Until(r.due) > 0 {
		return nil, nil
	}
	return r.turn(ctx, room)
}

// findOwn claims what is pending for us and not in the inbox. It keeps the idle time: if the reply is lost each time, another
// consumer may have the entry after ClaimMinIdle.
func (r *reclaimer) findOwn(ctx context.Context, room room) ([]stream.Entry, error) {
	for range claimPages {
		rows, err := r.Group.Pending(ctx, stream.Page{From: r.own, Count: claimPage, Own: true})
		if err != nil {
			return nil, err
		}
		claim := stream.Claim{Rows: choose(rows, r.isMissing), ReplyLost: r.ownLost, KeepIdle: true}
		entries, next, err := r.claim(ctx, claim, rows, room)
		if err != nil {
			return nil, err
		}
		r.own, r.ownFound = next, next != "" && (r.ownFound || len(entries) > 0)
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

// turn looks through the pending list for what fell idle. It goes on at once with the next call until it came to the end.
func (r *reclaimer) turn(ctx context.Context, room room) ([]stream.Entry, error) {
	if r.cursor == "-" || r.checkpoint.untilDue() <= 0 {
		status, err := r.checkpoint.save(ctx)
		if err != nil {
			return nil, err
		}
		if status.Pending == 0 {
			r.finishTurn()
			return nil, nil
		}
		if entries, err := r.claimFrozen(ctx, room); len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	wanted := 0
	for range claimPages {
		rows, err := r.Group.Pending(ctx, stream.Page{From: r.cursor, Count: claimPage, Idle: r.ClaimMinIdle, Own: r.NeverClaim})
		if err != nil {
			return nil, err
		}
		claim := stream.Claim{Rows: choose(rows, r.isAbandoned), MinIdle: r.ClaimMinIdle}
		wanted += len(claim.Rows)
		entries, next, err := r.claim(ctx, claim, rows, room)
		if err != nil {
			return nil, err
		}
		r.cursor, r.found = next, r.found || len(entries) > 0
		if next == "" {
			r.finishTurn()
		}
		if len(entries) > 0 || next == "" {
			return entries, nil
		}
	}
	if wanted == 0 {
		r.postpone() // the cursor stays where it is: the tail of a long list has its turn
	}
	return nil, nil
}

// claimFrozen claims what is abandoned though the server's clock, which was set back, shows no idle time.
func (r *reclaimer) claimFrozen(ctx context.Context, room room) ([]stream.Entry, error) {
	if r.NeverClaim {
		return nil, nil
	}
	rows, err := r.frozen.abandoned(ctx)
	if err != nil {
		return nil, err
	}
	entries, _, err := r.claim(ctx, stream.Claim{Rows: rows, Frozen: true}, rows, room)
	return entries, err
}

func (r *reclaimer) finishTurn() {
	r.cursor = "-"
	r.postpone()
}

// postpone sets the time of the next turn; the consumers of a group drift apart.
func (r *reclaimer) postpone() {
	r.due = time.Now().Add(r.ClaimInterval - rand.N(r.ClaimInterval/4+1))
	r.found = false
	r.report.flush()
}

// claim takes over entries of a page, as many as there is room for, and returns them and where to go on; empty: the list ends
// here.
func (r *reclaimer) claim(ctx context.Context, claim stream.Claim, page []stream.PendingEntry, room room) (_ []stream.Entry, next string, _ error) {
	if len(page) == claimPage {
		next = stream.After(page[len(page)-1].ID)
	}
	if len(claim.Rows) == 0 {
		return nil, next, nil
	}
	claim.Limit = stream.Limit{Count: room.entries, Bytes: room.bytes}
	claimed, err := r.Group.Claim(ctx, claim)
	if err != nil {
		return nil, "", err
	}
	r.report.add(claim, claimed)
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

func (r *reclaimer) isMissing(row stream.PendingEntry) bool { return !r.inbox.owns(row.ID) }

// isAbandoned also finds our own: a connection that we gave up may be handed an entry later.
func (r *reclaimer) isAbandoned(row stream.PendingEntry) bool {
	return !r.inbox.owns(row.ID) && r.callbacks.mayClaim(r.ShouldClaim, row)
}

// longSilence tells a consumer that fell silent from one that released its entries: those look idle since 1970.
const longSilence = 10 * 365 * 24 * time.Hour

// claimReport collects what the log is told of a turn: one line for each consumer, and one for what was trimmed.
type claimReport struct {
	logger  watermill.LoggerAdapter
	trimmed []string // some of them
	count   int
	silent  map[string]*silentConsumer
}

type silentConsumer struct {
	count int
	idle  time.Duration
}

func (c *claimReport) add(claim stream.Claim, claimed stream.Claimed) {
	c.count += len(claimed.Trimmed)
	c.trimmed = append(c.trimmed, claimed.Trimmed[:min(len(claimed.Trimmed), max(0, maxLoggedIDs-len(c.trimmed)))]...)
	if claim.KeepIdle {
		return // our own
	}
	rows := make(map[string]stream.PendingEntry, len(claim.Rows))
	for _, row := range claim.Rows {
		rows[row.ID] = row
	}
	for _, e := range claimed.Entries {
		row := rows[e.ID]
		if row.Idle > longSilence {
			continue
		}
		if c.silent == nil {
			c.silent = make(map[string]*silentConsumer)
		}
		s := c.silent[row.Consumer]
		if s == nil {
			s = &silentConsumer{}
			c.silent[row.Consumer] = s
		}
		s.count++
		s.idle = max(s.idle, row.Idle)
	}
}

func (c *claimReport) flush() {
	if c.count > 0 {
		c.logger.Error("entries were trimmed from the stream before they were handled", errTrimmed,
			watermill.LogFields{countField: c.count, "entries": c.trimmed})
	}
	for name, s := range c.silent {
		c.logger.Info("entries were taken over from a consumer that fell silent", watermill.LogFields{
			countField: s.count, "from_consumer": name, "silent_for": s.idle.Round(time.Millisecond).String(),
		})
	}
	c.trimmed, c.count, c.silent = nil, 0, nil
}
