package subscription

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/batch"
	"github.com/millrace/redisstream/internal/stream"
)

// maxPostponed bounds one call of the script that puts entries into the retry queue.
const maxPostponed = 100

var (
	errTooMany  = errors.New("the entry has too many fields")
	errNotTaken = map[stream.PostponeResult]error{stream.PostponedTrimmed: errTrimmed, stream.PostponedTooLarge: errTooMany}
)

// postponer puts entries into the retry queue of the group, by group commit: workers do not wait for
// it. It owns an entry from Add until the server has it. What the server does not take waits in the
// inbox.
type postponer struct {
	batch.Committer[postponement]

	ctx      context.Context //nolint:containedctx // ends with stop, not with any call
	stop     context.CancelFunc
	send     func(context.Context, []stream.Postponement) ([]stream.PostponeResult, error)
	inbox    *inbox
	retries  *retryQueue
	logger   watermill.LoggerAdapter
	failing  bool     // logged
	observer Observer // nil: none
}

// postponement is an entry that goes to the retry queue.
type postponement struct {
	entry *entry
	stream.Postponement
}

func newPostponer(s *Subscription, g Group, retries *retryQueue) *postponer {
	p := &postponer{send: g.Stream.Postpone, inbox: s.inbox, retries: retries, logger: s.Logger, observer: s.Observer}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(s.messages))
	p.Commit, p.MaxItems = p.commit, maxPostponed
	return p
}

func (p *postponer) commit(items []postponement) {
	list := make([]stream.Postponement, len(items))
	for i, item := range items {
		list[i] = item.Postponement
	}
	results, err := p.send(p.ctx, list)
	p.report(err, items)
	if parked := countParked(results); parked > 0 && p.observer != nil {
		p.observer.Parked(parked)
	}
	for i, item := range items {
		switch {
		case p.inbox.cameAgain(item.entry):
		case err != nil:
			p.inbox.waitHere(item.entry, item.Wait, true)
		case results[i] == stream.Postponed:
			p.retries.arm(item.Wait)
			p.inbox.postponed(item.entry)
		case results[i] == stream.PostponedNotOwned: // its new owner decides
			p.inbox.postponed(item.entry)
		default:
			p.failed(errNotTaken[results[i]], item)
			p.inbox.waitHere(item.entry, item.Wait, false)
		}
	}
}

// report logs the first of several failures in a row, and their end.
func (p *postponer) report(err error, items []postponement) {
	switch {
	case err != nil && !p.failing:
		p.failed(err, items...)
	case err == nil && p.failing:
		p.logger.Info("messages are put into the retry queue of the group again", nil)
	}
	p.failing = err != nil
}

func (p *postponer) failed(err error, items ...postponement) {
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.ID
	}
	p.logger.Error("messages could not be put into the retry queue of the group; they wait in this process", err, someOf(ids))
}
