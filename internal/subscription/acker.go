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
	batch.Committer[ack]
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

// ack is an entry to acknowledge, or a mark behind those that came before it.
type ack struct {
	*entry

	through chan struct{} // of a mark: closed when the server has those
}

func (a *acker) add(e *entry) { a.Add(ack{entry: e}) }

// through returns a channel that is closed when the server has all acknowledgements that were added so far; never, if
// Close gives up.
func (a *acker) through() <-chan struct{} {
	mark := ack{through: make(chan struct{})}
	a.Add(mark)
	return mark.through
}

func (a *acker) commit(acks []ack) {
	entries := make([]*entry, 0, len(acks))
	for _, ack := range acks {
		if ack.entry != nil {
			entries = append(entries, ack.entry)
		}
	}
	if len(entries) > 0 && !a.acknowledge(entries) {
		return
	}
	for _, ack := range acks {
		if ack.through != nil {
			close(ack.through)
		}
	}
}

// acknowledge tries until the server has the acknowledgements or Close gives up: then the entries
// stay in the inbox and are released, to be delivered again.
func (a *acker) acknowledge(entries []*entry) (done bool) {
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
			return true
		}
		if a.ctx.Err() != nil || !sleep(a.ctx, trouble.failed(err)) {
			a.logger.Error("acknowledgements given up at Close", err, watermill.LogFields{"entries": ids})
			return false
		}
	}
}
