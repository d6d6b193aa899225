package subscription

import (
	"sync"
	"time"
)

// retryTimers lets entries pause before their next delivery. The inbox's lock guards it.
type retryTimers struct {
	lock     sync.Locker
	blocking int // pauses that block a key queue
	others   int // pauses that block nothing
	stopped  bool
}

// start begins a pause and calls expired, under the lock, when it is over.
func (t *retryTimers) start(e *entry, pause time.Duration, blocks bool, expired func()) {
	count := &t.others
	if blocks {
		count = &t.blocking
	}
	*count++
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		t.lock.Lock()
		defer t.lock.Unlock()
		if t.stopped || e.timer != timer {
			return
		}
		*count--
		expired()
	})
	e.timer = timer
}

// forget ends the pauses of entries, which has all entries that pause. Their timers do not fire any
// more.
func (t *retryTimers) forget(entries []*entry) {
	for _, e := range entries {
		if e.timer != nil {
			e.timer.Stop()
			e.timer = nil
		}
	}
	t.blocking, t.others = 0, 0
}

// stop ends all pauses. None expires any more.
func (t *retryTimers) stop(entries map[string]*entry) {
	t.stopped = true
	for _, e := range entries {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
}
