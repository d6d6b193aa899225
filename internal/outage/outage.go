// Package outage makes two log lines of many failures, and lets the pauses between tries grow.
package outage

import (
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	firstPause = 20 * time.Millisecond
	// LongestPause lets reading resume within two seconds after an outage.
	LongestPause = time.Second
	// moveTime is how long a slot may move, or a group may be gone, before that is logged as an
	// outage.
	moveTime = 2 * time.Second
)

// Outage counts consecutive failures of one kind of work. It logs one line when they begin and one
// when they end. The pauses between tries grow. One goroutine at a time uses it.
type Outage struct {
	What    string // for the log: "reading from the stream"
	Logger  watermill.LoggerAdapter
	Longest time.Duration // of the pauses; 0: LongestPause
	// Jitter shortens the pause after the given number of failures; nil: at random, by up to half.
	Jitter func(pause time.Duration, failures int) time.Duration

	failures int
	logged   bool
	since    time.Time
}

// Failed records a failure and returns how long to pause before the next try.
func (o *Outage) Failed(err error) time.Duration { return o.FailedWith(err, nil) }

// FailedWith is Failed with fields for the log.
func (o *Outage) FailedWith(err error, fields watermill.LogFields) time.Duration {
	if o.failures == 0 {
		o.since = time.Now()
	}
	o.failures++
	if !o.logged && (!mayBeAMove(err) || time.Since(o.since) > moveTime) {
		o.logged = true
		o.Logger.Error(o.What+" failed; retrying", err, fields)
	}
	longest := o.Longest
	if longest == 0 {
		longest = LongestPause
	}
	pause := backoff.Exponential(firstPause, longest, o.failures)
	if o.Jitter != nil {
		return o.Jitter(pause, o.failures)
	}
	return backoff.Jitter(pause, 0.5)
}

// mayBeAMove reports whether a slot that moves may be the cause of an error: the old node no longer
// has the stream, and then refuses commands. A group that really vanished is logged when it is
// created again.
func mayBeAMove(err error) bool { return stream.IsRedirection(err) || stream.IsGroupGone(err) }

// Over records a success.
func (o *Outage) Over() {
	if o.failures == 0 {
		return
	}
	if o.logged {
		o.Logger.Info(o.What+" works again", watermill.LogFields{
			"failures": o.failures, "after": time.Since(o.since).String(),
		})
	}
	o.failures, o.logged = 0, false
}

// Shared is an outage that several goroutines report.
type Shared struct {
	Outage Outage

	mu sync.Mutex // guards Outage
}

// FailedWith records a failure, with fields for the log. The caller decides when it tries again.
func (o *Shared) FailedWith(err error, fields watermill.LogFields) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Outage.FailedWith(err, fields)
}

// Over records a success.
func (o *Shared) Over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Outage.Over()
}
