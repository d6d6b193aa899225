package subscription

import (
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
)

// countField is how many entries a line is about.
const countField = "count"

// endingLogger logs nothing after the end of the subscription: a goroutine that is left then waits for a server, and its
// failure is in the log already.
type endingLogger struct {
	watermill.LoggerAdapter

	ended *atomic.Bool
}

func newEndingLogger(logger watermill.LoggerAdapter) endingLogger {
	return endingLogger{logger, new(atomic.Bool)}
}

func (l endingLogger) end() { l.ended.Store(true) }

// Error is part of watermill.LoggerAdapter, like the others.
func (l endingLogger) Error(msg string, err error, fields watermill.LogFields) {
	if !l.ended.Load() {
		l.LoggerAdapter.Error(msg, err, fields)
	}
}

// Info logs what is worth to know.
func (l endingLogger) Info(msg string, fields watermill.LogFields) {
	if !l.ended.Load() {
		l.LoggerAdapter.Info(msg, fields)
	}
}
