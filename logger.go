package redisstream

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// discreetLogger logs nothing that a server repeats of messages and passwords.
type discreetLogger struct{ watermill.LoggerAdapter }

// redact returns what we log with; nil logs nothing.
func redact(logger watermill.LoggerAdapter) watermill.LoggerAdapter {
	if logger == nil {
		return watermill.NopLogger{}
	}
	return discreetLogger{logger}
}

func (l discreetLogger) Error(msg string, err error, fields watermill.LogFields) {
	l.LoggerAdapter.Error(msg, stream.Redact(err), fields)
}

func (l discreetLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return discreetLogger{l.LoggerAdapter.With(fields)}
}

// RedisLogger returns what makes go-redis log to a Watermill logger, at the Info level, without what servers repeat of messages
// and passwords. go-redis has one logger for the whole process:
//
//	redis.SetLogger(redisstream.RedisLogger(logger))
//
// A nil logger logs nothing: then go-redis is silent.
func RedisLogger(logger watermill.LoggerAdapter) interface {
	Printf(ctx context.Context, format string, args ...any)
} {
	return redisLogger{redact(logger)}
}

type redisLogger struct{ watermill.LoggerAdapter }

// Printf takes one line of go-redis.
func (l redisLogger) Printf(_ context.Context, format string, args ...any) {
	line := stream.Redact(fmt.Errorf(format, args...))
	l.Info("go-redis logged a line", watermill.LogFields{"line": line.Error()})
}
