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

// callbacks calls the user's functions. One that panics costs its entry, not the process.
type callbacks struct {
	logger watermill.LoggerAdapter

	mu     sync.Mutex
	logged map[string]bool // panics whose stack is in the log
}

// guard runs a function of the user and returns its panic as an error. The stack is logged once for each function.
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logged[name] {
		return
	}
	if c.logged == nil {
		c.logged = make(map[string]bool)
	}
	c.logged[name] = true
	c.logger.Error("a function of the configuration panicked; its stack is logged once", err, watermill.LogFields{"stack": string(stack)})
}

// decode makes the message of an entry.
func (s *Subscription) decode(e stream.Entry) (msg *message.Message, err error) {
	failure := s.callbacks.guard("Unmarshaler", func() { msg, err = s.Decode(e) })
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
func (s *Subscription) orderingKey(msg *message.Message) (key string, err error) {
	err = s.callbacks.guard("OrderingKey", func() { key = s.Key(msg) })
	return key, err
}

// panickedBackoff is the pause where NackBackoff panics.
const panickedBackoff = time.Second

// backoff returns the pause before a nacked message is delivered again.
func (s *Subscription) backoff(attempt int) (pause time.Duration) {
	if s.callbacks.guard("NackBackoff", func() { pause = s.Backoff(attempt) }) != nil {
		return panickedBackoff
	}
	return pause
}

// mayClaim reports whether the user lets an entry be taken over. One for which ShouldClaim panics stays where it is.
func (c *callbacks) mayClaim(shouldClaim func(stream.PendingEntry) bool, row stream.PendingEntry) (claim bool) {
	if shouldClaim == nil {
		return true
	}
	if c.guard("ShouldClaim", func() { claim = shouldClaim(row) }) != nil {
		return false
	}
	return claim
}
