package subscription

import (
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second // so that reading resumes within two seconds after an outage
	// moveTime is how long a slot may move, or a group may be gone, before that is logged as an
	// outage.
	moveTime = 2 * time.Second
)

// outage counts consecutive failures of one kind of work. It logs one line when they begin and one
// when they end. The pauses between tries grow. One goroutine at a time uses it.
type outage struct {
	what     string
	logger   watermill.LoggerAdapter
	failures int
	logged   bool
	since    time.Time
}

// failed records a failure and returns how long to pause before the next try.
func (o *outage) failed(err error) time.Duration {
	return o.failedWith(err, nil)
}

func (o *outage) failedWith(err error, fields watermill.LogFields) time.Duration {
	if o.failures == 0 {
		o.since = time.Now()
	}
	o.failures++
	if !o.logged && (!mayBeAMove(err) || time.Since(o.since) > moveTime) {
		o.logged = true
		o.logger.Error(o.what+" failed; retrying", err, fields)
	}
	return backoff.Jitter(backoff.Exponential(firstPause, longestPause, o.failures), 0.5)
}

// mayBeAMove reports whether a slot that moves may be the cause of an error: the old node no longer
// has the stream, and then refuses commands. A group that really vanished is logged when it is
// created again.
func mayBeAMove(err error) bool { return stream.IsRedirection(err) || stream.IsGroupGone(err) }

// over records a success.
func (o *outage) over() {
	if o.failures == 0 {
		return
	}
	if o.logged {
		o.logger.Info(o.what+" works again", watermill.LogFields{
			"failures": o.failures, "after": time.Since(o.since).String(),
		})
	}
	o.failures, o.logged = 0, false
}

// sharedOutage is an outage that several goroutines report.
type sharedOutage struct {
	mu     sync.Mutex
	outage outage
}

func (o *sharedOutage) failed(err error, fields watermill.LogFields) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outage.failedWith(err, fields)
}

func (o *sharedOutage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outage.over()
}
