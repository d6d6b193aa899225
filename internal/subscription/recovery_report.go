package subscription

import (
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// releasedIdle distinguishes released entries from those of an idle consumer: released entries are
// idle since 1970.
const releasedIdle = 10 * 365 * 24 * time.Hour

// claimReport collects what a scan logs: one line for each consumer, and one for trimmed entries.
type claimReport struct {
	logger  watermill.LoggerAdapter
	trimmed []string // the first of them
	count   int
	idle    map[string]*idleConsumer
}

type idleConsumer struct {
	count int
	idle  time.Duration
}

func (c *claimReport) add(claim stream.Claim, claimed stream.Claimed) {
	c.count += len(claimed.Trimmed)
	c.trimmed = append(c.trimmed, claimed.Trimmed[:min(len(claimed.Trimmed), max(0, maxLoggedIDs-len(c.trimmed)))]...)
	if claim.KeepIdle {
		return // these are our own
	}
	rows := make(map[string]stream.PendingEntry, len(claim.Rows))
	for _, row := range claim.Rows {
		rows[row.ID] = row
	}
	for _, e := range claimed.Entries {
		row := rows[e.ID]
		if row.Idle > releasedIdle {
			continue
		}
		if c.idle == nil {
			c.idle = make(map[string]*idleConsumer)
		}
		s := c.idle[row.Consumer]
		if s == nil {
			s = &idleConsumer{}
			c.idle[row.Consumer] = s
		}
		s.count++
		s.idle = max(s.idle, row.Idle)
	}
}

// countReleased returns how many of the claimed entries were released by their consumers.
func countReleased(claim stream.Claim, claimed stream.Claimed) (n int) {
	released := make(map[string]bool, len(claim.Rows))
	for _, row := range claim.Rows {
		released[row.ID] = row.Idle > releasedIdle
	}
	for _, e := range claimed.Entries {
		if released[e.ID] {
			n++
		}
	}
	return n
}

func (c *claimReport) flush() {
	if c.count > 0 {
		c.logger.Error("entries were trimmed from the stream before they were handled", errTrimmed,
			watermill.LogFields{countField: c.count, "entries": c.trimmed})
	}
	for name, s := range c.idle {
		c.logger.Info("entries were taken over from an idle consumer", watermill.LogFields{
			countField: s.count, "from_consumer": name, "idle_for": s.idle.Round(time.Millisecond).String(),
		})
	}
	c.trimmed, c.count, c.idle = nil, 0, nil
}
