package stream

import (
	"errors"
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

// ownError is an error of the server that we found out by ourselves.
type ownError string

func (e ownError) Error() string { return string(e) }

// RedisError makes it one of redis.Error, so that it is classed as the server's own.
func (ownError) RedisError() {}

// Discreet cuts off what a server repeats of a command that it doesn't know: a message, or the password of AUTH.
func Discreet(err error) error {
	if err == nil {
		return nil
	}
	said, _, repeats := strings.Cut(err.Error(), ", with args beginning with")
	if !repeats {
		return err
	}
	return ownError(said)
}
