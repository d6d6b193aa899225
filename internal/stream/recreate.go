package stream

import (
	"context"
)

// Recreated is the name of a consumer that marks a group as created again at the right place. It is
// removed after a while, as one with a generated name is.
const Recreated = "redisstream~RECREATED2"

// Checkpoint is how far a group has come: all entries up to ID were acknowledged.
type Checkpoint struct {
	ID     string // empty: unknown
	Read   int64  // how many entries the group had read, of all that were ever added
	Recent bool   // a group that was created since may be behind it
}

// Recreate creates the group again after it vanished. It begins at the checkpoint: what was pending
// then comes again, and what was acknowledged before does not. If the stream was created again
// since, the group begins at its beginning. With NoAck a group that exists is never set back: what
// was delivered must not come again. Recreate returns where the group begins; empty: it exists, and
// was not changed.
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
