package stream

import (
	"context"
)

// Recreated is the name of a consumer that shows that a group was created again where it was. Like a generated one, it
// is removed after a while.
const Recreated = "redisstream~RECREATED2"

// Checkpoint is how far a group has come: all entries up to ID were acknowledged.
type Checkpoint struct {
	ID     string // empty: unknown
	Read   int64  // how many entries the group had read, of all that were ever added to the stream
	Recent bool   // who created the group since may have known less
}

// Recreate creates the group again after it vanished: behind the mark, so that what was pending then comes again and
// what was acknowledged before does not; at the beginning where the stream itself began anew since. With NoAck a group that is
// there already is never set back: what was handed out must not come again. It returns where the group begins; empty: it was
// there, and is left as it is.
func (g *Group) Recreate(ctx context.Context, mark Checkpoint) (start string, err error) {
	start = mark.ID
	known := "stale"
	switch {
	case g.NoAck:
		known = "forward"
	case mark.Recent:
		known = "recent"
	}
	info, err := g.shared.XInfoStream(ctx, g.key).Result()
	switch {
	case isNoKey(err):
		start = "0"
	case err != nil:
		return "", err
	case Precedes(info.LastGeneratedID, mark.ID) || info.EntriesAdded < mark.Read:
		start = "0"
	}
	changed, err := recreateScript.Run(ctx, g.shared, []string{g.key}, g.name, start, g.consumer, Recreated, known).Int()
	if err != nil || changed == 0 {
		return "", err
	}
	return start, nil
}
