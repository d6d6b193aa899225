package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Backend is one of the three delivery modes: a Group, an AutoAckGroup or a Fanout.
type Backend interface {
	// attach makes the backend of a subscription that is about to start.
	attach(s *Subscription) backend
}

// backend is what the delivery modes do differently: how entries are read, and how they are
// settled.
type backend interface {
	source
	settlement
	reports
	pausing
	// tasks are the periodic tasks of the subscription.
	tasks() []periodicTask
}

// source is where the reader gets entries. One goroutine uses it; interrupt and close may be called
// from others.
type source interface {
	// next returns entries that are ours from now on; no entries and no error: there are none.
	// Without room it only saves the checkpoint.
	next(ctx context.Context, room room) ([]stream.Entry, error)
	// transferTime is how long the bytes of the last reply took.
	transferTime() time.Duration
	// untilCheckpoint is how long the reader may wait for room before it calls next without any.
	untilCheckpoint() time.Duration
	// gap is the ID of the oldest entry that is still to be claimed before newer ones are
	// delivered; empty: none.
	gap() string
	// recover prepares the next read after an error. It returns that error, and adds its own
	// failure.
	recover(ctx context.Context, err error) error
	// interrupt ends a blocked read and refuses further ones. close frees the connection.
	interrupt()
	close()
}

// settlement ends the entries that a worker has.
type settlement interface {
	deadLetters
	leases
	// awaitAcks returns when the server has the acks that this redelivery must not lose.
	awaitAcks(e *entry)
	retries
	// acked ends an entry that its handler acked, after a worker spent d on it.
	acked(e *entry, d time.Duration)
	// flush returns when every ack was sent, or when stop was called. stop gives up sending acks.
	flush()
	stop()
	// release releases the entries that no handler has, and renews the leases of late handlers.
	release(ctx context.Context)
	lateSettlement
}

// lateSettlement acknowledges or releases entries whose handlers settle them after Close stopped
// waiting.
type lateSettlement interface {
	// keepsLateMessages reports whether messages of late handlers keep their leases, and their acks
	// count.
	keepsLateMessages() bool
	// ackLate acknowledges entries after the end of the subscription. releaseLate releases others.
	ackLate(ctx context.Context, ids []string) error
	releaseLate(ctx context.Context, release stream.Release) error
}

// retries redelivers entries when their handlers want them.
type retries interface {
	// retryLater delivers an entry again after a wait. A worker spent d on it.
	retryLater(e *entry, d time.Duration, retry Retry)
	// postpone hands entries that wait over to the group, at the end of the subscription. It returns
	// how many went into the retry queue.
	postpone(ctx context.Context, entries []stream.Postponement) (parked int)
}

// Stream is what all backends need of a stream.Group or a stream.Fanout.
type Stream interface {
	Read(ctx context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, error)
	TransferTime() time.Duration
	Reset(ctx context.Context)
	Interrupt()
	Close()
}

// GroupStream is what a Group and an AutoAckGroup need: a *stream.Group.
type GroupStream interface {
	Stream
	ReadAndLook(ctx context.Context, limit stream.Limit, block time.Duration) (entries []stream.Entry, paused bool, err error)
	GroupState
	PendingList
	RetryQueue
	RemoveIdle(ctx context.Context, patterns []string, idle time.Duration) (removed []string, err error)
	Trim(ctx context.Context, age time.Duration, keep int64) (dropped int64, err error)
	Report(ctx context.Context, record stream.MemberRecord) error
}

// GroupState returns how far a group has come, and recreates it.
type GroupState interface {
	Join(ctx context.Context, start string) error
	Recreate(ctx context.Context, checkpoint stream.Checkpoint) (start string, err error)
	GroupInfo(ctx context.Context) (stream.GroupInfo, error)
	IsPaused(ctx context.Context) (bool, error)
	Info(ctx context.Context) (stream.Info, error)
}

// PendingList has the pending entries of a group.
type PendingList interface {
	Pending(ctx context.Context, page stream.Page) ([]stream.PendingEntry, error)
	Claim(ctx context.Context, claim stream.Claim) (stream.Claimed, error)
	RenewLeases(ctx context.Context, leases []stream.Lease) (lost, trimmed []string, err error)
	Ack(ctx context.Context, ids []string) error
	Commit(ctx context.Context, id string, tx *stream.Transaction, earlier bool) (stream.CommitResult, error)
	DeadLetter(ctx context.Context, id string, target stream.DeadLetterTarget, fields []any) (stream.DeadLetterResult, error)
	Release(ctx context.Context, release stream.Release) (trimmed []string, err error)
}

// RetryQueue has the entries that a group gets again later.
type RetryQueue interface {
	Postpone(ctx context.Context, entries []stream.Postponement) ([]stream.PostponeResult, error)
	TakeRetries(ctx context.Context, limit stream.Limit) (entries []stream.Entry, wait time.Duration, err error)
}

// unacknowledged settles entries that need no ack: those of an AutoAckGroup or a Fanout.
type unacknowledged struct {
	deadLetters
	noLeases

	inbox *inbox
}

func newUnacknowledged(s *Subscription) unacknowledged {
	return unacknowledged{deadLetters: skipping{s}, inbox: s.inbox}
}

func (unacknowledged) awaitAcks(*entry)                  {}
func (u unacknowledged) acked(e *entry, d time.Duration) { u.inbox.done(e, d) }
func (unacknowledged) flush()                            {}
func (unacknowledged) stop()                             {}
func (unacknowledged) gap() string                       { return "" }
func (unacknowledged) keepsLateMessages() bool           { return false }

func (unacknowledged) ackLate(context.Context, []string) error           { return nil }
func (unacknowledged) releaseLate(context.Context, stream.Release) error { return nil }

// limit bounds a read.
func (r room) limit() stream.Limit { return stream.Limit{Count: r.entries, Bytes: r.bytes} }
