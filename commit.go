package redisstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
	"github.com/redis/go-redis/v9"
)

var (
	// ErrNotHeld is wrapped by the error of Commit when the consumer does not hold the entry any
	// more: another consumer has taken it over, or it is acknowledged or committed already. Nothing
	// was changed. Whatever the handler does with the message then, it stays with its new owner.
	ErrNotHeld = subscription.ErrNotHeld

	// ErrCommitUncertain is wrapped by the error of Commit when it is unknown whether it was made:
	// it was sent, and no reply came. Its effects are visible once or not at all, never twice. If
	// it was not made, the message is redelivered.
	ErrCommitUncertain = subscription.ErrUncertain

	// ErrCommitRefused is wrapped by the error of Commit when a command can't be part of it. The
	// error names the command, and a key that is in another hash slot. Nothing was sent.
	ErrCommitRefused = stream.ErrRefused

	// ErrNoAcks is wrapped by the error of Commit for a context whose message has no entry that is
	// to be acknowledged: that of a fan-out, of a Subscriber with AutoAck, of another Pub/Sub, or
	// no message's.
	ErrNoAcks = subscription.ErrNoAcks
)

// CommitError is returned by Commit when commands failed after others had an effect, such as an
// INCR of a key that holds a list. Redis undoes nothing: all other commands had their effect, and
// the message is acknowledged, as it would be applied once more otherwise. Use errors.As to get it.
type CommitError struct {
	// Failed are the commands that failed, in the order in which they were queued. Err of each is
	// the server's error.
	Failed []redis.Cmder
	Err    error // counts them, and has the first of their errors
}

// Error is the text of Err.
func (e *CommitError) Error() string { return "commit: " + e.Err.Error() }

// Unwrap returns Err.
func (e *CommitError) Unwrap() error { return e.Err }

// Commit applies the effects of a handler and acknowledges its message in one step on the server: a
// script checks that the consumer still holds the entry (XPENDING), runs the commands that f queued
// in tx, and acknowledges the entry (XACK). Others see all of it or nothing. If the process dies
// before, nothing is changed and the message is redelivered; after, it is not. So each message has
// its effects exactly once, however often it is delivered.
//
// ctx is the context of the message, or one derived from it. To publish in the same step, queue the
// messages with a TxPublisher. Ack the message as usual after Commit returned nil. A Nack after
// that redelivers nothing.
//
// Commands: f may queue commands that write and do not block: on strings, hashes, lists, sets,
// sorted sets and streams, DEL, EXPIRE and others, and PUBLISH. They return no replies (their Err
// says so): read what you need before Commit, with the client. In a cluster all keys must be in the
// hash slot of the topic: "{orders}:paid" is in that of "orders". At most 10,000 commands, of 7,000
// arguments each. If f returns an error or calls Exec, or a command is refused, nothing is sent.
//
// Errors wrap
//   - ErrNotHeld, ErrCommitRefused or ErrNoAcks: nothing was changed.
//   - ErrCommitUncertain: the reply was lost. Commit tries again by itself, for 10 tries, and
//     applies nothing twice.
//   - a *CommitError: some commands failed, and the message is acknowledged.
//   - the error of f, the cause of the end of ctx, or an error of the server, such as NOPERM, OOM or
//     that of the first command: nothing was changed, and a nack redelivers the message.
//
// After the end of ctx nothing is sent. Close cancels it after CloseTimeout: a handler that is to
// commit after that calls Commit with context.WithoutCancel(ctx).
func Commit(ctx context.Context, f func(tx redis.Pipeliner) error) error {
	delivery, ok := ctx.Value(deliveryKey{}).(*entryContext)
	if !ok {
		return commitError(ErrNoAcks)
	}
	parent, ok := delivery.Context.(subscription.Delivery)
	if !ok || delivery.common.client == nil {
		return commitError(ErrNoAcks)
	}
	tx := stream.NewTransaction(delivery.common.client)
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Prepare(delivery.common.Stream); err != nil {
		return commitError(err)
	}
	return commitError(parent.Commit(ctx, tx))
}

func commitError(err error) error {
	if err == nil {
		return nil
	}
	if partly, ok := errors.AsType[*stream.CommandsError](err); ok {
		return &CommitError{Failed: partly.Failed, Err: err}
	}
	return fmt.Errorf("commit: %w", stream.Redact(err))
}
