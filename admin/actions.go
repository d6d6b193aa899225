package admin

import (
	"context"
	"time"
)

// Skip is how entries are skipped.
type Skip struct {
	DeadLetter bool   // keep each as a dead letter
	Reason     string // of the dead letter; empty: "skipped"
	DryRun     bool
}

// Skip acknowledges entries for a group, so that nobody gets them: pending ones (XACK), whoever has
// them, and ones that no consumer has got yet. A handler that works on one goes on; the context of its
// message ends within ClaimMinIdle/2. It returns the IDs that it skipped: an entry that
// the group has handled is left out. With DeadLetter each is moved in one step on the server. The error wraps ErrNoTopic,
// ErrNoGroup, ErrNoEntry or ErrInvalidID.
func (a *Admin) Skip(ctx context.Context, topic, group string, ids []string, how Skip) (Outcome, error) {
	panic("to do")
}

// Reset is what Reset did, or would do.
type Reset struct {
	From, To      string // the group's position
	Before, After Lag
	Acknowledged  int64 // pending entries that were passed over
	DryRun        bool
}

// ResetTo is where a group is set to. Exactly one of ID, Time and Ago is set.
type ResetTo struct {
	ID     string        // the group gets what is newer than this entry; "0": everything, "$": only what is added from now on
	Time   time.Time     // the group gets what was added then or later
	Ago    time.Duration // as Time, that long ago by the server's clock
	DryRun bool
}

// Reset sets the position of a group (XGROUP SETID), in one step with its pending entries: those
// up to the new position are acknowledged, those after it come again with the rest. The members need
// not stop; what their handlers have beyond the new position is handled again by whoever gets it. The retry queue is left as it is.
// The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Reset(ctx context.Context, topic, group string, to ResetTo) (Reset, error) {
	panic("to do")
}

// Pause makes all subscribers of a group stop reading a topic, in all processes, within 2 s. Handlers that run may
// finish; what no handler has is released. by and reason are for people. It stays until Resume, also when all processes
// restart. Members that use another library, or an older redisstream, go on. The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Pause(ctx context.Context, topic, group, by, reason string) error { panic("to do") }

// Resume ends a pause. The members go on within 2 s. Without a pause it does nothing.
func (a *Admin) Resume(ctx context.Context, topic, group string) error { panic("to do") }

// Deletion is what DeleteGroup or DropConsumer did, or would do.
type Deletion struct {
	Pending int64 // DeleteGroup: pending entries that nobody handles now. DropConsumer: what it gave back.
	Lag     Lag   // DeleteGroup: entries that the group never got
	Parked  int64 // DeleteGroup: messages of its retry queue
	DryRun  bool
}

// DeleteGroup deletes a group, with its pending entries and its retry queue (XGROUP DESTROY, DEL). The
// entries stay in the topic. The error wraps ErrInUse while the group has live members: they would
// create it again.
func (a *Admin) DeleteGroup(ctx context.Context, topic, group string, dryRun bool) (Deletion, error) {
	panic("to do")
}

// DropConsumer removes a consumer from its group (XGROUP DELCONSUMER), in one step with giving its
// entries back: other consumers get them within their ClaimInterval. The error wraps ErrInUse while
// the consumer is alive, or ErrNoConsumer.
func (a *Admin) DropConsumer(ctx context.Context, topic, group, consumer string, dryRun bool) (Deletion, error) {
	panic("to do")
}
