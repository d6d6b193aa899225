package redisstream

import (
	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// discreetLogger logs nothing that a server repeats of messages and passwords.
type discreetLogger struct{ watermill.LoggerAdapter }

// discreet returns what we log with; nil logs nothing.
func discreet(logger watermill.LoggerAdapter) watermill.LoggerAdapter {
	if logger == nil {
		return watermill.NopLogger{}
	}
	return discreetLogger{logger}
}

func (l discreetLogger) Error(msg string, err error, fields watermill.LogFields) {
	l.LoggerAdapter.Error(msg, stream.Discreet(err), fields)
}

func (l discreetLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return discreetLogger{l.LoggerAdapter.With(fields)}
}
