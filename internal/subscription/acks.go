package subscription

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/batch"
	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

// maxAcks bounds one XACK.
const maxAcks = 1000

// acker sends acks to the server, by group commit. It owns an entry from add until the server has
// the ack. The end of the subscription does not stop it; stop does.
type acker struct {
	batch.Committer[ack]
	ctx      context.Context //nolint:containedctx // ends with stop, not with any call
	stop     context.CancelFunc
	send     func(ctx context.Context, ids []string) error // XACK
	inbox    *inbox
	logger   watermill.LoggerAdapter
	observer Observer // nil: none
}

func newAcker(send func(context.Context, []string) error, s *Subscription) *acker {
	a := &acker{send: send, inbox: s.inbox, logger: s.Logger, observer: s.Observer}
	a.ctx, a.stop = context.WithCancel(context.WithoutCancel(s.messages))
	a.Commit, a.MaxItems = a.commit, maxAcks
	return a
}

// ack is an entry to acknowledge, or a request that the acks before it are flushed.
type ack struct {
	*entry

	flushed chan struct{} // closed when the server has the acks before it; nil: no request
}

func (a *acker) add(e *entry) { a.Add(ack{entry: e}) }

// flushed returns a channel that is closed when the server has all acks that were added before. It
// stays open if the acker was stopped.
func (a *acker) flushed() <-chan struct{} {
	request := ack{flushed: make(chan struct{})}
	a.Add(request)
	return request.flushed
}

func (a *acker) commit(acks []ack) {
	ids := make([]string, 0, len(acks))
	for _, ack := range acks {
		if ack.entry != nil {
			ids = append(ids, ack.ID)
		}
	}
	if len(ids) > 0 {
		if !a.acknowledge(ids) {
			return
		}
		a.inbox.acknowledged(acks)
	}
	for _, ack := range acks {
		if ack.flushed != nil {
			close(ack.flushed)
		}
	}
}

// acknowledge tries until the server has the acks, or the acker is stopped. Then the entries stay
// in the inbox and are released, to be delivered again.
func (a *acker) acknowledge(ids []string) (done bool) {
	trouble := outage.Outage{What: "acknowledging", Logger: a.logger}
	for {
		err := a.send(a.ctx, ids)
		if err == nil || stream.IsGroupGone(err) { // nothing is pending without the group
			if err == nil && a.observer != nil {
				a.observer.Acked(len(ids))
			}
			trouble.Over()
			return true
		}
		if a.ctx.Err() != nil || !sleep(a.ctx, trouble.Failed(err)) {
			a.logger.Error("acknowledgements given up at Close", err, watermill.LogFields{"entries": ids})
			return false
		}
	}
}
