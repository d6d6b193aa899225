package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	// ErrNotHeld is wrapped by errors about an entry that the consumer does not hold any more.
	ErrNotHeld = errors.New("the consumer does not hold the entry any more; nothing was changed")

	// ErrUncertain is wrapped by errors about a commit of which nobody knows whether it was made.
	ErrUncertain = errors.New("it is unknown whether the commit was made")

	// ErrNoAcks is returned for messages whose entries are not acknowledged.
	ErrNoAcks = errors.New("only a message of a Subscriber with a ConsumerGroup and without AutoAck can be committed")

	errOver      = errors.New("its delivery is over")
	errCommitted = errors.New("it is committed")
	errUnderWay  = errors.New("a Commit of the message is under way")
	errSettled   = errors.New("a reply was lost, and the entry is acknowledged now: by this call or by another consumer; it is not redelivered")
)

// Delivery is the context of a message, as Config.Context gets it.
type Delivery interface {
	context.Context

	// Commit runs the commands of a prepared Transaction and acknowledges the message's entry, in
	// one step. Errors wrap ErrNotHeld, ErrUncertain or ErrNoAcks, are a *stream.CommandsError, or
	// are other errors, after which nothing is changed.
	Commit(ctx context.Context, tx *stream.Transaction) error
}

// commitState is what is known of the commit of an entry.
type commitState uint8

const (
	notCommitted commitState = iota
	committing               // the script may be under way: the server may not list the entry as ours
	uncertain                // no reply came: it may be committed
	committed                // its effects are visible, and it is acknowledged
	notHeld                  // it was not ours any more: an ack of the handler must not end it for its new owner
)

// after is the state after a commit.
var after = map[stream.CommitResult]commitState{
	stream.CommitFailed: notCommitted, stream.CommitDone: committed, stream.CommitSettled: committed,
	stream.CommitNotHeld: notHeld, stream.CommitUncertain: uncertain,
}

// committer is a backend whose entries can be committed.
type committer interface {
	commit(ctx context.Context, e *entry, tx *stream.Transaction, earlier bool) (stream.CommitResult, error)
}

// Commit is part of Delivery.
func (c *deliveryContext) Commit(ctx context.Context, tx *stream.Transaction) error {
	backend, ok := c.subscription.backend.(committer)
	if !ok {
		return ErrNoAcks
	}
	e := c.current()
	if e == nil {
		return fmt.Errorf("%w: %w", ErrNotHeld, errOver)
	}
	inbox := c.subscription.inbox
	before, err := inbox.beginCommit(e, c)
	if err != nil {
		return fmt.Errorf("entry %s: %w", e.ID, err)
	}
	if ctx.Err() != nil {
		inbox.endCommit(e, before)
		return context.Cause(ctx)
	}
	result, err := backend.commit(ctx, e, tx, before == uncertain)
	inbox.endCommit(e, after[result])
	switch result {
	case stream.CommitNotHeld:
		err = ErrNotHeld
		if observer := c.subscription.Observer; observer != nil {
			observer.LeasesLost(1)
		}
	case stream.CommitSettled:
		err = fmt.Errorf("%w: %w", ErrUncertain, errSettled)
	case stream.CommitUncertain:
		err = fmt.Errorf("%w: %w", ErrUncertain, err)
	case stream.CommitDone, stream.CommitFailed:
	}
	if err != nil {
		return fmt.Errorf("entry %s: %w", e.ID, err)
	}
	return nil
}

// commit is part of committer. A reply that was lost is no riddle while our lease lasted: nobody
// else can have acknowledged the entry.
func (g *group) commit(ctx context.Context, e *entry, tx *stream.Transaction, earlier bool) (stream.CommitResult, error) {
	leasedAt := g.inbox.leasedAt(e)
	result, err := g.Stream.Commit(ctx, e.ID, tx, earlier)
	if result == stream.CommitSettled && time.Since(leasedAt) < g.minIdle {
		return stream.CommitDone, nil
	}
	return result, err
}

// beginCommit returns what was known of the entry's commit before.
func (b *inbox) beginCommit(e *entry, delivery *deliveryContext) (before commitState, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.commit == committing:
		return e.commit, errUnderWay
	case e.commit == committed:
		return e.commit, fmt.Errorf("%w: %w", ErrNotHeld, errCommitted)
	case e.context != delivery:
		return e.commit, fmt.Errorf("%w: %w", ErrNotHeld, errOver)
	case e.lost:
		e.commit = notHeld
		return e.commit, ErrNotHeld
	}
	before, e.commit = e.commit, committing
	return before, nil
}

// endCommit records how a commit ended. The context of a message that another consumer has ends.
func (b *inbox) endCommit(e *entry, state commitState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.commit = state
	if state != notHeld {
		return
	}
	e.lost = true
	if e.context != nil {
		e.context.end()
	}
}

func (b *inbox) commitOf(e *entry) commitState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.commit
}

// settledByCommit ends the delivery of an entry whose Commit decided what becomes of it, whatever
// the handler decided then. It reports whether there was one. No XACK follows the Commit: if the
// group was recreated meanwhile, that would end the entry for a consumer that gets it again.
func (w *worker) settledByCommit(e *entry, msg *message.Message, took time.Duration) bool {
	switch w.inbox.commitOf(e) {
	case committed:
		if isClosed(msg.Nacked()) {
			w.Logger.Info("message was nacked after it was committed; it is not redelivered", w.describe(e, msg))
		}
		w.inbox.done(e, took)
		if w.Observer != nil {
			w.Observer.Acked(1)
		}
		return true
	case notHeld: // its new owner settles it
		w.inbox.done(e, took)
		return true
	case notCommitted, committing, uncertain:
	}
	return false
}
