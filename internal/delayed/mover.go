// Package delayed runs the mover of a topic's delayed messages when the next one is due.
package delayed

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
)

const (
	// minPause is the shortest pause between two calls, so that many messages with different times
	// are moved together.
	minPause = 10 * time.Millisecond
	// firstRetry and longestRetry are the pauses after failures.
	firstRetry   = 50 * time.Millisecond
	longestRetry = 2 * time.Second
)

// Mover calls a function whenever a message is due. It has a timer and no goroutine of its own, so
// an idle one costs nothing.
type Mover struct {
	// Move moves what is due. It returns when the next message is due, 0 if one is due now, and
	// below 0 if there is none.
	Move func(ctx context.Context) (wait time.Duration, err error)
	// Failed is called after each error of Move. It reports whether to try again; otherwise the
	// Mover ends.
	Failed func(err error) bool

	mu       sync.Mutex
	timer    *time.Timer
	at       time.Time // when the timer fires; zero: never
	moving   bool
	failures int
	ctx      context.Context //nolint:containedctx // ends with Close
	cancel   context.CancelFunc
	closed   bool
	calls    sync.WaitGroup
}

// Armed reports whether Move is going to be called without another Arm.
func (m *Mover) Armed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.at.IsZero()
}

// Arm makes the Mover call Move when the time is over, or earlier.
func (m *Mover) Arm(wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.arm(wait)
}

func (m *Mover) arm(wait time.Duration) {
	at := time.Now().Add(wait)
	if m.closed || !m.at.IsZero() && !at.Before(m.at) {
		return
	}
	m.at = at
	switch {
	case m.moving: // it looks at the time when it is done
	case m.timer == nil:
		m.timer = time.AfterFunc(wait, m.fire)
	default:
		m.timer.Reset(wait)
	}
}

// fire calls Move, once at a time.
func (m *Mover) fire() {
	m.mu.Lock()
	if m.closed || m.moving || m.at.IsZero() {
		m.mu.Unlock()
		return
	}
	m.moving, m.at = true, time.Time{}
	if m.ctx == nil {
		m.ctx, m.cancel = context.WithCancel(context.Background())
	}
	m.calls.Add(1)
	defer m.calls.Done()
	m.mu.Unlock()

	wait, err := m.Move(m.ctx)

	again := err == nil || m.ctx.Err() == nil && m.Failed(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moving = false
	armed := m.at
	m.at = time.Time{}
	if !again {
		m.closed = true
		return
	}
	switch {
	case err != nil:
		m.failures++
		m.arm(backoff.Jitter(backoff.Exponential(firstRetry, longestRetry, m.failures), 0.5))
		return
	case wait == 0:
		m.failures = 0
		m.arm(0)
	case wait > 0:
		m.failures = 0
		m.arm(max(wait, minPause))
	}
	if !armed.IsZero() {
		m.arm(max(time.Until(armed), minPause))
	}
}

// Close ends the Mover. It returns when Move is not running any more.
func (m *Mover) Close() {
	m.mu.Lock()
	m.closed = true
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.cancel != nil {
		m.cancel()
	}
	m.mu.Unlock()
	m.calls.Wait()
}
