package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// IsGroupGone reports whether the consumer group, or its stream, does not exist. A blocked reader
// gets UNBLOCKED when its stream is deleted.
func IsGroupGone(err error) bool {
	return redis.HasErrorPrefix(err, "NOGROUP") || redis.HasErrorPrefix(err, "UNBLOCKED")
}

// ErrNotOwner is the error of a consumer that does not own the stream any more. Nothing was changed.
var ErrNotOwner error = ownError("NOTOWNER this consumer does not own the stream")

// errReleased is ErrNotOwner for a consumer that has released the stream itself.
var errReleased = fmt.Errorf("%w: it has released the stream", ErrNotOwner)

// asNotOwner returns ErrNotOwner or errReleased for the errors of fence.lua, and other errors as they
// are.
func asNotOwner(err error) error {
	switch {
	case redis.HasErrorPrefix(err, "NOTOWNER released"):
		return errReleased
	case redis.HasErrorPrefix(err, "NOTOWNER"):
		return ErrNotOwner
	default:
		return err
	}
}

// isNoKey reports whether XINFO found no stream.
func isNoKey(err error) bool { return redis.HasErrorPrefix(err, "no such key") }

// IsWrongType reports whether the server refused a command because the key holds a value of another
// type. A script's error begins with that of its command.
func IsWrongType(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }

// noneWaiting reports whether a blocking read timed out: that is no failure.
func noneWaiting(err error) bool { return errors.Is(err, redis.Nil) }

// IsNotApplied reports whether an error proves that its command had no effect: the server refused
// it, or it was not sent completely.
func IsNotApplied(err error) bool {
	if errors.Is(err, ErrNotReplicated) { // the entries are in the stream, whatever WAIT returned
		return false
	}
	if _, uncertain := errors.AsType[uncertainError](err); uncertain {
		return false
	}
	_, refused := errors.AsType[redis.Error](err)
	_, cut := errors.AsType[cutError](err)
	return refused || cut || isNotSent(err) || errors.Is(err, redis.ErrClosed)
}

// isNotSent reports whether a command was not sent because there was no connection.
func isNotSent(err error) bool {
	if _, unsent := errors.AsType[unsentError](err); unsent {
		return true
	}
	network, failed := errors.AsType[*net.OpError](err)
	return failed && network.Op == "dial" ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted)
}

// retryable are the refusals that end by themselves: the server starts, fails over, moves a slot,
// waits for its replicas, or runs a long script. Others, such as OOM, MISCONF, NOPERM, NOAUTH and
// WRONGTYPE, need the user to act.
var retryable = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS", "BUSY ",
	"max number of clients reached",
}

// IsRetryable reports whether a command had no effect and a retry may succeed.
func IsRetryable(err error) bool {
	if !IsNotApplied(err) {
		return false
	}
	for _, prefix := range retryable {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return isNotSent(err) && !errors.Is(err, redis.ErrClosed)
}

// IsTransient reports whether a command that only reads may succeed later: a connection broke, or the
// server refused it in a state that ends by itself.
func IsTransient(err error) bool {
	if _, refused := errors.AsType[redis.Error](err); refused {
		return IsRetryable(err) && !errors.Is(err, redis.Nil)
	}
	_, network := errors.AsType[net.Error](err)
	return network || isNotSent(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// IsUnanswered reports whether the server can't be reached, or did not answer in time.
func IsUnanswered(err error) bool {
	if _, refused := errors.AsType[redis.Error](err); refused || err == nil {
		return false
	}
	network, failed := errors.AsType[net.Error](err)
	return isNotSent(err) || failed && network.Timeout()
}

// NotSent returns an error for a command that was not tried.
func NotSent(why error) error { return unsentError{why} }

// ownError is an error of the server that was not read by go-redis.
type ownError string

func (e ownError) Error() string { return string(e) }

// RedisError is part of redis.Error: the error is classified as the server's.
func (ownError) RedisError() {}

// Redact removes the arguments that a server repeats when it doesn't know a command: they may be a
// message, or the password of AUTH.
func Redact(err error) error {
	if err == nil {
		return nil
	}
	text, _, repeats := strings.Cut(err.Error(), ", with args beginning with")
	if !repeats {
		return err
	}
	return ownError(text)
}

// IsRedirection reports whether a node of a cluster refused a command because the slot moves or has
// moved.
func IsRedirection(err error) bool {
	_, _, moved := redirection(err)
	return moved || redis.IsTryAgainError(err)
}
