package subscription

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

var errNoMessage = errors.New("the Unmarshaler returned neither a message nor an error")

// panickedBackoff is the pause if NackBackoff panics.
const panickedBackoff = time.Second

// callbacks calls the user's functions. If one panics, its entry fails, and the process goes on.
type callbacks struct {
	logger watermill.LoggerAdapter

	mu     sync.Mutex
	logged map[string]bool // functions whose stack is in the log
}

// guard runs a function of the user and returns its panic as an error. The stack is logged once for
// each function.
func (c *callbacks) guard(name string, run func()) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s panicked: %v", name, cause)
			c.report(name, err, debug.Stack())
		}
	}()
	run()
	return nil
}

func (c *callbacks) report(name string, err error, stack []byte) {
	if !c.isFirst(name) {
		return
	}
	c.logger.Error("a function of the configuration panicked; its stack is logged once", err, watermill.LogFields{"stack": string(stack)})
}

// isFirst reports whether a function panicked for the first time.
func (c *callbacks) isFirst(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logged[name] {
		return false
	}
	if c.logged == nil {
		c.logged = make(map[string]bool)
	}
	c.logged[name] = true
	return true
}

// decode makes the message of an entry.
func (c *callbacks) decode(decode func(stream.Entry) (*message.Message, error), e stream.Entry) (msg *message.Message, err error) {
	failure := c.guard("Unmarshaler", func() { msg, err = decode(e) })
	switch {
	case failure != nil:
		return nil, failure
	case err != nil:
		return nil, err
	case msg == nil:
		return nil, errNoMessage
	}
	return msg, nil
}

// orderingKey returns the key of a message.
func (c *callbacks) orderingKey(orderingKey func(*message.Message) string, msg *message.Message) (key string, err error) {
	err = c.guard("OrderingKey", func() { key = orderingKey(msg) })
	return key, err
}

// backoff returns the pause before a nacked message is redelivered.
func (c *callbacks) backoff(backoff func(attempt int) time.Duration, attempt int) (pause time.Duration) {
	if c.guard("NackBackoff", func() { pause = backoff(attempt) }) != nil {
		return panickedBackoff
	}
	return pause
}

// mayClaim reports whether ShouldClaim allows a take-over. If it panics, the entry is left alone.
func (c *callbacks) mayClaim(shouldClaim func(stream.PendingEntry) bool, row stream.PendingEntry) (claim bool) {
	if shouldClaim == nil {
		return true
	}
	if c.guard("ShouldClaim", func() { claim = shouldClaim(row) }) != nil {
		return false
	}
	return claim
}
