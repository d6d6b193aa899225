package stream

import (
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// IsGroupGone reports whether the consumer group, or its stream, does not exist (any more).
// A reader that was blocked when it went is told UNBLOCKED.
func IsGroupGone(err error) bool {
	return redis.HasErrorPrefix(err, "NOGROUP") || redis.HasErrorPrefix(err, "UNBLOCKED")
}

// isNoKey is what XINFO says of a key that does not exist.
func isNoKey(err error) bool { return redis.HasErrorPrefix(err, "no such key") }

// noneWaiting is the reply to a blocking read that timed out: not an error.
func noneWaiting(err error) bool { return errors.Is(err, redis.Nil) }

// IsNotApplied reports whether an error proves that its command did nothing: the server refused
// it, or it never went out as a whole.
func IsNotApplied(err error) bool {
	if errors.Is(err, ErrNotReplicated) { // whatever WAIT was told
		return false
	}
	_, refused := errors.AsType[redis.Error](err)
	_, cut := errors.AsType[cutError](err)
	return refused || cut || isNotSent(err) || errors.Is(err, redis.ErrClosed)
}

// isNotSent reports whether a command never went out, because there was no connection to be had.
func isNotSent(err error) bool {
	if _, unsent := errors.AsType[unsentError](err); unsent {
		return true
	}
	network, failed := errors.AsType[*net.OpError](err)
	return failed && network.Op == "dial" ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted)
}

// passing are the server's refusals that end by themselves: it starts, fails over, moves a slot, waits for its
// replicas, or runs a script for long. Of the others (OOM, MISCONF, NOPERM, NOAUTH, WRONGTYPE and so on) the user has to know.
var passing = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS", "BUSY ",
	"max number of clients reached",
}

// IsRetryable reports whether a command was not applied and may be tried again with some hope.
func IsRetryable(err error) bool {
	if !IsNotApplied(err) {
		return false
	}
	for _, prefix := range passing {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return isNotSent(err) && !errors.Is(err, redis.ErrClosed)
}

// IsUnanswered reports whether an error says that the server can't be reached, or that it did not answer in time.
func IsUnanswered(err error) bool {
	if _, refused := errors.AsType[redis.Error](err); refused || err == nil {
		return false
	}
	network, failed := errors.AsType[net.Error](err)
	return isNotSent(err) || failed && network.Timeout()
}

// NotSent returns an error that says why a command was not even tried.
func NotSent(why error) error { return unsentError{why} }

// ownError is an error of the server that we found out by ourselves.
type ownError string

func (e ownError) Error() string { return string(e) }

// RedisError makes it one of redis.Error, so that it is classed as the server's own.
func (ownError) RedisError() {}

// Redact cuts off what a server repeats of a command that it doesn't know: a message, or the password of AUTH.
func Redact(err error) error {
	if err == nil {
		return nil
	}
	said, _, repeats := strings.Cut(err.Error(), ", with args beginning with")
	if !repeats {
		return err
	}
	return ownError(said)
}

// IsRedirection reports whether a node of a cluster refused a command because the slot moves or has moved.
func IsRedirection(err error) bool {
	_, _, moved := redirection(err)
	return moved || redis.IsTryAgainError(err)
}
