package subscription

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/batch"
	"github.com/millrace/redisstream/internal/stream"
)

// maxAcks bounds one XACK.
const maxAcks = 1000

// acker tells the server what was acknowledged, by group commit. It owns an entry from add until
// the server has it, on a context that the subscription's end does not touch.
type acker struct {
	batch.Committer[*entry]
	ctx    context.Context //nolint:containedctx // ends with Close, not with any call
	group  Group
	inbox  *inbox
	logger watermill.LoggerAdapter
}

func newAcker(ctx context.Context, config *Config, inbox *inbox) *acker {
	a := &acker{ctx: ctx, group: config.Group, inbox: inbox, logger: config.Logger}
	a.Commit, a.MaxItems = a.commit, maxAcks
	return a
}

func (a *acker) add(e *entry) { a.Add(e) }

// commit retries until the server has the acknowledgements or Close gives up: then the entries
// stay in the inbox and are released, to be delivered again.
func (a *acker) commit(entries []*entry) {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	trouble := outage{what: "acknowledging", logger: a.logger}
	for {
		err := a.group.Ack(a.ctx, ids)
		if err == nil || stream.IsGroupGone(err) { // without its group nothing is pending
			trouble.over()
			a.inbox.drop(entries)
			return
		}
		if a.ctx.Err() != nil || !sleep(a.ctx, trouble.failed(err)) {
			a.logger.Error("acknowledgements given up at Close", err, watermill.LogFields{"entries": ids})
			return
		}
	}
}
