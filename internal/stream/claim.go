package stream

import (
	"context"
	"time"
)

// Limit bounds a reply in entries, and roughly in bytes. One entry always comes, however large.
type Limit struct{ Count, Bytes int }

// Claim describes which pending entries to take over, and how.
type Claim struct {
	Rows      []PendingEntry // from Pending; an entry that changed its owner since is left alone
	Limit     Limit
	MinIdle   time.Duration // only what has this idle time; 0: any
	Frozen    bool          // instead of MinIdle: only what has no idle time
	KeepIdle  bool          // so that others can take the entry over if our reply is lost
	ReplyLost bool          // the server counted a delivery whose reply was lost
}

// Claimed is the result of a Claim.
type Claimed struct {
	Entries []Entry
	Trimmed []string // IDs that are no longer in the stream; they are no longer pending
	Tried   int      // how many rows were handled; the limit excluded the rest
}

// Claim takes over pending entries.
func (g *Group) Claim(ctx context.Context, claim Claim) (claimed Claimed, err error) {
	args := make([]any, 0, 6+3*len(claim.Rows))
	args = append(args, g.name, g.consumer, claim.MinIdle.Milliseconds(), claim.Limit.Count, claim.Limit.Bytes, flag(claim.KeepIdle))
	if claim.Frozen {
		args[2] = "frozen"
	}
	for _, row := range claim.Rows {
		args = append(args, row.ID, row.Consumer, row.Deliveries)
	}
	err = g.onPrivateDecoded(ctx, 0, func(ctx context.Context, c privateClient) error {
		return g.fence.run(ctx, c, claimScript, []string{g.key}, args).Err()
	}, func(d *decoder) (err error) {
		claimed, err = d.claimed(claim)
		return err
	})
	return claimed, err
}

// claimed decodes the reply of the claim script.
func (d *decoder) claimed(claim Claim) (claimed Claimed, err error) {
	if err := d.fixedList(3); err != nil {
		return Claimed{}, err
	}
	if claimed.Entries, err = d.list((*decoder).claimedEntry); err != nil {
		return Claimed{}, err
	}
	for i := range claimed.Entries {
		e := &claimed.Entries[i]
		e.Deliveries = e.Counted + 1
		if claim.ReplyLost {
			e.Deliveries = max(e.Counted, 1)
		}
		e.Counted = max(e.Counted, 1)
	}
	if claimed.Trimmed, err = d.strings(); err != nil {
		return Claimed{}, err
	}
	tried, err := d.integer()
	claimed.Tried = int(tried)
	return claimed, err
}

// claimedEntry decodes [ID, fields, deliveries, idle time].
func (d *decoder) claimedEntry() (e Entry, where place, err error) {
	if err := d.fixedList(4); err != nil {
		return e, where, err
	}
	if where, err = d.idAndFields(); err != nil {
		return e, where, err
	}
	counted, err := d.integer()
	if err != nil {
		return e, where, err
	}
	idle, err := d.integer()
	return Entry{Claimed: true, Counted: counted, Idle: time.Duration(idle) * time.Millisecond}, where, err
}

// strings decodes a list of strings.
func (d *decoder) strings() (list []string, err error) {
	n, err := d.listHeader()
	if err != nil {
		return nil, err
	}
	for range n {
		s, err := d.text()
		if err != nil {
			return nil, err
		}
		list = append(list, string(d.reply[s.from:s.to]))
	}
	return list, nil
}
