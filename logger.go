package redisstream

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// redactingLogger removes from errors what a server repeats of messages and passwords.
type redactingLogger struct{ watermill.LoggerAdapter }

// redact returns the logger that this package uses. A nil logger logs nothing.
func redact(logger watermill.LoggerAdapter) watermill.LoggerAdapter {
	if logger == nil {
		return watermill.NopLogger{}
	}
	return redactingLogger{logger}
}

func (l redactingLogger) Error(msg string, err error, fields watermill.LogFields) {
	l.LoggerAdapter.Error(msg, stream.Redact(err), fields)
}

func (l redactingLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return redactingLogger{l.LoggerAdapter.With(fields)}
}

// RedisLogger returns a logger for go-redis that logs to a Watermill logger at the Info level. It
// removes what servers repeat of messages and passwords. go-redis has one logger for the whole
// process:
//
//	redis.SetLogger(redisstream.RedisLogger(logger))
//
// With a nil logger go-redis logs nothing.
func RedisLogger(logger watermill.LoggerAdapter) interface {
	Printf(ctx context.Context, format string, args ...any)
} {
	return redisLogger{redact(logger)}
}

type redisLogger struct{ watermill.LoggerAdapter }

// Printf logs one line of go-redis.
func (l redisLogger) Printf(_ context.Context, format string, args ...any) {
	line := stream.Redact(fmt.Errorf(format, args...))
	l.Info("go-redis logged a line", watermill.LogFields{"line": line.Error()})
}
