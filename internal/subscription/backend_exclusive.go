package subscription

import (
	"context"

	"github.com/millrace/redisstream/internal/stream"
)

// ExclusiveGroup is the Backend of the active consumer of a group: no other consumer of the group
// works on the stream until its ownership ends. It may claim all pending entries at once.
type ExclusiveGroup struct {
	Group

	Stream    ExclusiveStream
	Ownership Ownership
}

// ExclusiveStream is what an ExclusiveGroup needs: a *stream.Group whose scripts check the owner.
type ExclusiveStream interface {
	// HasForeign reports whether other consumers of the group have pending entries.
	HasForeign(ctx context.Context) (bool, error)
}

// exclusiveGroup is the ExclusiveGroup of a running subscription.
type exclusiveGroup struct {
	*group

	hasForeign func(context.Context) (bool, error)
}

func (g ExclusiveGroup) attach(s *Subscription) backend {
	b := g.attachGroup(s)
	b.recovery.claimsAll, b.checkpoint.alone = true, true
	b.ReadsShort = true // lostPause waits for its end
	b.owned = g.Ownership.Left
	return &exclusiveGroup{group: b, hasForeign: g.Stream.HasForeign}
}

// next returns entries as the group does. A former owner may still have a read under way, which gets
// entries as long as it blocks on the server. So after each read the owner asks whether others have
// entries. These are older than what comes next, and are claimed first; what was read waits.
func (g *exclusiveGroup) next(ctx context.Context, room room) ([]stream.Entry, error) {
	entries, err := g.group.next(ctx, room)
	if err != nil || len(entries) == 0 || entries[0].Claimed {
		return entries, err
	}
	foreign, err := g.hasForeign(ctx)
	if foreign || err != nil {
		g.recovery.restart(false)
	}
	return entries, err
}

// releaseLate gives the ownership up with the last message of a late handler.
func (g *exclusiveGroup) releaseLate(ctx context.Context, release stream.Release) error {
	release.Leaves = len(release.Keep) == 0
	return g.group.releaseLate(ctx, release)
}

// lostAll reports whether lose was called.
func (b *inbox) lostAll() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.table.allLost
}

// lose ends the subscription at once, because another consumer may be the active one: the contexts
// of all messages end, and what their handlers decide does not count.
func (s *Subscription) lose() {
	s.inbox.leases(func(table *leaseTable) { table.loseAll() })
	s.backend.stop()
	s.stop()
}
