package subscription

import (
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
)

// countField is the log field with the number of entries.
const countField = "count"

// maxLoggedIDs bounds the IDs in a log line.
const maxLoggedIDs = 10

// someOf returns the number of entries, and the IDs of some of them.
func someOf(ids []string) watermill.LogFields {
	return watermill.LogFields{countField: len(ids), "entries": ids[:min(len(ids), maxLoggedIDs)]}
}

// endingLogger logs nothing after the end of the subscription. A goroutine that still runs then
// waits for a server, and that failure is already logged.
type endingLogger struct {
	watermill.LoggerAdapter

	ended *atomic.Bool
}

func newEndingLogger(logger watermill.LoggerAdapter) endingLogger {
	return endingLogger{logger, new(atomic.Bool)}
}

func (l endingLogger) end() { l.ended.Store(true) }

// Error logs an error unless the subscription has ended.
func (l endingLogger) Error(msg string, err error, fields watermill.LogFields) {
	if !l.ended.Load() {
		l.LoggerAdapter.Error(msg, err, fields)
	}
}

// Info logs a message unless the subscription has ended.
func (l endingLogger) Info(msg string, fields watermill.LogFields) {
	if !l.ended.Load() {
		l.LoggerAdapter.Info(msg, fields)
	}
}
