package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// trimLook is how many turns may pass between two looks for trimmed entries where there seems to be nothing unread:
// Redis 8 says so too when all of it was trimmed.
const trimLook = 10

// checkpoint keeps how far the group has come, for the case that it vanishes. The reader's goroutine uses it.
type checkpoint struct {
	*Config

	saved   stream.Checkpoint // how far the group had come when it was saved last
	savedAt time.Time
	due     time.Time // when to save it again, at the latest
	trims   trimWatch
	looked  time.Time // when trims was asked last
	look    time.Time // when it may be asked again: with large entries that is expensive
}

func newCheckpoint(config *Config) *checkpoint { return &checkpoint{Config: config} }

// isSaved reports whether there is a checkpoint at all.
func (c *checkpoint) isSaved() bool { return c.saved.ID != "" }

// untilDue is the time until the checkpoint is to be saved again, at the latest.
func (c *checkpoint) untilDue() time.Duration { return time.Until(c.due) }

// save asks how far the group has come and keeps it.
func (c *checkpoint) save(ctx context.Context) (stream.GroupInfo, error) {
	c.due = time.Now().Add(c.ClaimInterval)
	status, err := c.status(ctx)
	if err != nil {
		return status, err
	}
	mark := stream.Checkpoint{ID: status.LastDelivered, Read: status.Read}
	if status.Pending > 0 && c.Group != nil {
		rows, err := c.Group.Pending(ctx, stream.Page{From: "-", Count: 1})
		if err != nil {
			return status, err
		}
		if len(rows) == 0 {
			return status, nil // acknowledged meanwhile, or it is another group already: the old checkpoint is the safe one
		}
		mark.ID = stream.Before(rows[0].ID)
	}
	c.saved, c.savedAt = mark, time.Now()
	if !time.Now().Before(c.look) && (status.Lag != 0 || time.Since(c.looked) > trimLook*c.ClaimInterval) {
		if err := c.watchTrims(ctx, status); err != nil {
			return status, err
		}
	}
	return status, nil
}

// status asks for the group's state. Without acknowledgements it must not be behind what was known: then it was created again by a
// member that knew less, and is set forward. What is behind even so has its reason: the stream began anew, or somebody set it.
func (c *checkpoint) status(ctx context.Context) (stream.GroupInfo, error) {
	status, err := c.Progress.GroupInfo(ctx)
	if err != nil || c.Group != nil || !stream.Precedes(status.LastDelivered, c.saved.ID) {
		return status, err
	}
	if err := c.recreate(ctx); err != nil {
		return status, err
	}
	return c.Progress.GroupInfo(ctx)
}

// recreate creates the group again at the checkpoint, or sets it there, unless it is where it was.
func (c *checkpoint) recreate(ctx context.Context) error {
	start, err := c.Recreate(ctx, c.known())
	if err == nil && start != "" {
		c.Logger.Info("the consumer group had vanished and was created again; it goes on behind an ID", watermill.LogFields{"id": start})
	}
	return err
}

// read keeps the newest ID that was read: without acknowledgements the group has come that far.
func (c *checkpoint) read(id string) {
	if stream.Precedes(c.saved.ID, id) {
		c.saved.ID, c.savedAt = id, time.Now()
	}
}

// watchTrims says what was trimmed before anybody in the group had it.
func (c *checkpoint) watchTrims(ctx context.Context, status stream.GroupInfo) error {
	c.look = time.Now().Add(stream.InfoRetry)
	extent, err := c.Progress.Info(ctx)
	if err != nil {
		return err
	}
	c.looked = time.Now()
	c.look = c.looked.Add(extent.Pause())
	if n := c.trims.look(status, extent); n > 0 {
		c.Logger.Error("entries were trimmed from the stream before the group read them", errTrimmed, watermill.LogFields{countField: n})
	}
	return nil
}

// known returns the checkpoint, for a group that vanished. Who was silent for longer than a lease lasts does not know best.
func (c *checkpoint) known() stream.Checkpoint {
	mark := c.saved
	mark.Recent = time.Since(c.savedAt) < c.ClaimMinIdle
	return mark
}
