package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// trimmedEvery is how many checkpoints may pass between two checks for trimmed entries while the
// group has no lag. Redis 8 reports no lag also when all unread entries were trimmed.
const trimmedEvery = 10

// position returns where a group with the given state continues after it vanished. It is unknown
// while the state changes.
type position func(ctx context.Context, info stream.GroupInfo) (id string, known bool, err error)

// checkpoint saves how far the group has come, so that it can be recreated there. The reader's
// goroutine uses it.
type checkpoint struct {
	Membership

	position position
	retries  *retryQueue
	pause    *pauseWatch
	logger   watermill.LoggerAdapter
	observer Observer // nil: none

	alone     bool          // no other member does its work
	every     time.Duration // between two looks
	saved     stream.Checkpoint
	savedAt   time.Time
	due       time.Time // when to save it again
	trimmed   trimmedUnread
	checkedAt time.Time // when trimmed entries were counted last
	checkDue  time.Time // when they may be counted again: large entries make that expensive
}

func newCheckpoint(s *Subscription, m Membership, position position, retries *retryQueue, pause *pauseWatch) *checkpoint {
	return &checkpoint{
		Membership: m, position: position, retries: retries, pause: pause, logger: s.Logger, observer: s.Observer, every: m.ClaimInterval,
	}
}

// exists reports whether a checkpoint was saved.
func (c *checkpoint) exists() bool { return c.saved.ID != "" }

// untilDue is the time until the checkpoint is to be saved again.
func (c *checkpoint) untilDue() time.Duration { return time.Until(c.due) }

// postpone sets when the checkpoint is saved next, whether or not this time succeeds.
func (c *checkpoint) postpone() { c.due = time.Now().Add(c.every) }

// update saves the checkpoint of the group's present state, which it returns.
func (c *checkpoint) update(ctx context.Context) (stream.GroupInfo, error) {
	c.postpone()
	info, err := c.groupInfo(ctx)
	if err != nil {
		return info, err
	}
	c.share(info)
	c.fetchLater(info)
	return info, c.save(ctx, info)
}

// groupInfo asks for the group's state, and whether it is paused.
func (c *checkpoint) groupInfo(ctx context.Context) (stream.GroupInfo, error) {
	info, err := c.Stream.GroupInfo(ctx)
	if err == nil || stream.IsGroupGone(err) {
		c.pause.saw(info.Paused)
	}
	return info, err
}

// fetchLater has delayed messages moved and entries of the retry queue taken that are due, and the
// others when they are.
func (c *checkpoint) fetchLater(info stream.GroupInfo) {
	if info.Delayed {
		c.Delayed.Arm(0)
	}
	if info.Retries {
		c.retries.arm(0)
	}
}

// save saves the position of a group with the given state.
func (c *checkpoint) save(ctx context.Context, info stream.GroupInfo) error {
	id, known, err := c.position(ctx, info)
	if err != nil || !known {
		return err // the older checkpoint is the safe one
	}
	c.saved, c.savedAt = stream.Checkpoint{ID: id, Read: info.Read}, time.Now()
	unread := info.Lag != 0 || time.Since(c.checkedAt) > trimmedEvery*c.every
	if !unread || time.Now().Before(c.checkDue) {
		return nil
	}
	return c.countTrimmed(ctx, info)
}

// advance saves the ID of the newest entry that was handed out.
func (c *checkpoint) advance(id string) {
	if stream.Precedes(c.saved.ID, id) {
		c.saved.ID, c.savedAt = id, time.Now()
	}
}

// recreate creates the group at the checkpoint, unless it exists there. A checkpoint older than
// ClaimMinIdle is stale: others may have progressed past it.
func (c *checkpoint) recreate(ctx context.Context) error {
	if !c.exists() {
		return c.Stream.Join(ctx, c.StartID)
	}
	checkpoint := c.saved
	checkpoint.Recent = time.Since(c.savedAt) < c.ClaimMinIdle
	start, err := c.Stream.Recreate(ctx, checkpoint)
	if err == nil && start != "" {
		c.logger.Info("the consumer group had vanished and was created again; it continues after an ID", watermill.LogFields{"id": start})
	}
	return err
}

// countTrimmed logs how many entries were trimmed before the group read them.
func (c *checkpoint) countTrimmed(ctx context.Context, group stream.GroupInfo) error {
	c.checkDue = time.Now().Add(stream.InfoRetry)
	info, err := c.Stream.Info(ctx)
	if err != nil {
		return err
	}
	c.checkedAt = time.Now()
	c.checkDue = c.checkedAt.Add(info.Pause())
	if n := c.trimmed.count(group, info); n > 0 {
		c.logger.Error("entries were trimmed from the stream before the group read them", errTrimmed, watermill.LogFields{countField: n})
		if c.observer != nil {
			c.observer.TrimmedUnread(n)
		}
	}
	return nil
}
