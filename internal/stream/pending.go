package stream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Page selects a part of the pending list.
type Page struct {
	From  string        // the first ID; "-" is the oldest
	Count int           // the most rows to return
	Idle  time.Duration // only what has this idle time; 0: all
	Own   bool          // only what this consumer owns
}

// PendingEntry is an entry that a consumer got and has not acknowledged.
type PendingEntry struct {
	ID         string
	Consumer   string        // its owner
	Idle       time.Duration // since its delivery, or since its lease was renewed
	Deliveries int64         // how often it was delivered, as the server counts
}

// Pending returns a page of the pending list (XPENDING).
func (g *Group) Pending(ctx context.Context, page Page) (rows []PendingEntry, err error) {
	args := redis.XPendingExtArgs{
		Stream: g.key, Group: g.name, Idle: page.Idle, Start: page.From, End: "+", Count: int64(page.Count),
	}
	if page.Own {
		args.Consumer = g.consumer
	}
	err = g.onPrivate(ctx, 0, func(ctx context.Context, c privateClient) error {
		list, err := c.XPendingExt(ctx, &args).Result()
		if err != nil {
			return err
		}
		rows = make([]PendingEntry, len(list))
		for i, row := range list {
			rows[i] = PendingEntry{ID: row.ID, Consumer: row.Consumer, Idle: row.Idle, Deliveries: row.RetryCount}
		}
		return nil
	})
	return rows, err
}

func stringsOf(reply any) []string {
	elements, _ := reply.([]any)
	list := make([]string, 0, len(elements))
	for _, element := range elements {
		if s, ok := element.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// Lease is an entry that this consumer holds, with its number of deliveries.
type Lease struct {
	ID         string
	Deliveries int64
}

func leaseArgs(args []any, leases []Lease) []any {
	for _, l := range leases {
		args = append(args, l.ID, strconv.FormatInt(l.Deliveries, 10))
	}
	return args
}

// RenewLeases renews leases. It returns the IDs of lost entries, which another consumer has or
// which are acknowledged, and of trimmed ones, which no consumer can get any more.
func (g *Group) RenewLeases(ctx context.Context, leases []Lease) (lost, trimmed []string, err error) {
	queued, pending := g.retries.split(leases)
	if lost, err = g.retries.settle(ctx, renew, queued); err != nil || len(pending) == 0 {
		return lost, nil, err
	}
	args := leaseArgs([]any{g.name, g.consumer}, pending)
	reply, err := g.fence.run(ctx, g.shared, renewLeasesScript, []string{g.key}, args).Slice()
	if err != nil {
		return nil, nil, err
	}
	if len(reply) != 2 {
		return nil, nil, fmt.Errorf("renew_leases script: %d elements in its reply", len(reply))
	}
	return append(lost, stringsOf(reply[0])...), stringsOf(reply[1]), nil
}

// releasePage bounds how long one call of the release script blocks the server.
const releasePage = 1000

// Release describes what happens to the pending entries of this consumer.
type Release struct {
	Leases []Lease  // freed, with these delivery counts
	Keep   []string // stay ours; their leases are renewed
	// TakeBack takes back the only delivery of entries that are in neither list, and not released
	// yet: the reply with them was lost. It is not set while an earlier process with our name may have had them.
	TakeBack bool
	Remove   bool // the consumer is removed once it owns nothing
	Leaves   bool // its member record is deleted
}

// Release frees the entries of this consumer, except for Keep: any other consumer may claim or take
// them at once. It returns the IDs of entries that were trimmed from the stream.
//
// A consumer that owns the stream and leaves releases the stream in the same step as its last
// entries, if it keeps none. Otherwise it stays the owner, and its lease is renewed.
func (g *Group) Release(ctx context.Context, release Release) (trimmed []string, err error) {
	failure := g.retries.releaseAllBut(ctx, release)
	keys := []string{g.key}
	if release.Leaves {
		keys = g.withMembers()
	}
	owner := g.fence.afterRelease(release)
	if owner != ownerAsIs {
		keys = append(keys, g.fence.owner.key)
	}
	for from := "-"; ; {
		args := []any{g.name, g.consumer, from, releasePage, flag(release.Remove), flag(release.TakeBack), string(owner)}
		args = leaseArgs(args, release.Leases)
		for _, id := range release.Keep {
			args = append(args, id, "keep")
		}
		sent := time.Now()
		reply, err := g.fence.run(ctx, g.shared, releaseScript, keys, args).Slice()
		if wasReleased(owner, err) {
			return trimmed, failure
		}
		if err != nil {
			return trimmed, err
		}
		if len(reply) != 2 {
			return trimmed, fmt.Errorf("release script: %d elements in its reply", len(reply))
		}
		trimmed = append(trimmed, stringsOf(reply[1])...)
		last, _ := reply[0].(string)
		if last == "" {
			g.fence.settled(owner, sent)
			return trimmed, failure
		}
		from = After(last)
	}
}

// flag is a boolean argument of a script.
func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}
