package partition

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/backoff"
)

const (
	firstPause = 20 * time.Millisecond
	// longestPause is short, because all members have to be back in the record soon after an outage.
	longestPause = 500 * time.Millisecond
)

// outage counts consecutive failures of one kind of work. It logs one line when they begin and one
// when they end. The pauses between tries grow. They differ between members, and are the same in
// each run of a simulation.
type outage struct {
	what     string
	member   string
	logger   watermill.LoggerAdapter
	failures int
	since    time.Time
}

// failed records a failure and returns how long to pause before the next try.
func (o *outage) failed(err error, fields watermill.LogFields) time.Duration {
	if o.failures++; o.failures == 1 {
		o.since = time.Now()
		o.logger.Error(o.what+" failed; retrying", err, fields)
	}
	pause := backoff.Exponential(firstPause, longestPause, o.failures)
	return pause - time.Duration(int64(hashOf(o.member+strconv.Itoa(o.failures)))%int64(pause/2))
}

// over records a success.
func (o *outage) over() {
	if o.failures > 0 {
		o.logger.Info(o.what+" works again", watermill.LogFields{"failures": o.failures, "after": time.Since(o.since).String()})
		o.failures = 0
	}
}
