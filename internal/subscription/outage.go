package subscription

import (
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

const (
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second // a server that is back is read from within two seconds
)

// outage counts the failures of one kind of work in a row: a line in the log when they begin and
// one when they end, and pauses that grow in between. One goroutine uses it.
type outage struct {
	what     string
	logger   watermill.LoggerAdapter
	failures int
	since    time.Time
}

// failed notes a failure and returns how long to pause before the next try.
func (o *outage) failed(err error) time.Duration {
	if o.failures == 0 {
		o.since = time.Now()
		o.logger.Error(o.what+" failed; retrying", err, nil)
	}
	o.failures++
	pause := min(firstPause<<min(o.failures-1, 16), longestPause)
	return pause/2 + rand.N(pause/2+1)
}

// over notes a success.
func (o *outage) over() {
	if o.failures == 0 {
		return
	}
	o.logger.Info(o.what+" works again", watermill.LogFields{
		"failures": o.failures, "after": time.Since(o.since).String(),
	})
	o.failures = 0
}
