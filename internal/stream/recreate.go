package stream

import (
	"context"
)

// Recreated is the name of a consumer that marks a group as created again at the right place. It is
// removed when it is idle, like a consumer with a generated name.
const Recreated = "redisstream~RECREATED2"

// Checkpoint is how far a group is known to have come: all entries up to ID were acknowledged.
type Checkpoint struct {
	ID     string // empty: unknown
	Read   int64  // how many entries the group had read, of all that were ever added
	Recent bool   // not stale: a group that exists may be set to it
}

// Recreate creates the group again after it vanished. The group begins at the checkpoint, so
// entries that were pending then are delivered again, and entries that were acknowledged before are
// not. If the stream itself began again, the group begins at its first entry. With NoAck a group
// that exists is never set back, because no entry may be delivered twice. Recreate returns where
// the group begins; empty: it exists, and was not changed.
func (g *Group) Recreate(ctx context.Context, checkpoint Checkpoint) (start string, err error) {
	start = checkpoint.ID
	known := "stale"
	switch {
	case g.NoAck:
		known = "forward"
	case checkpoint.Recent:
		known = "recent"
	}
	info, err := g.shared.XInfoStream(ctx, g.key).Result()
	switch {
	case isNoKey(err):
		start = "0"
	case err != nil:
		return "", err
	case Precedes(info.LastGeneratedID, checkpoint.ID) || info.EntriesAdded < checkpoint.Read:
		start = "0"
	}
	changed, err := recreateScript.Run(ctx, g.shared, []string{g.key}, g.name, start, g.consumer, Recreated, known).Int()
	if err != nil || changed == 0 {
		return "", err
	}
	return start, nil
}
