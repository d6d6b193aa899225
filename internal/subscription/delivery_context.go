package subscription

import (
	"context"
	"sync"
	"time"
)

// deliveryContext is the context of one delivery. It is a child of the subscription's context, and
// ends when the handler has settled the message or the lease is lost. Most handlers never wait for
// its end. So it registers with its parent, which is most of its cost, only when somebody asks for
// Done.
type deliveryContext struct {
	subscription *Subscription // whose messages is the parent

	mu    sync.Mutex
	ended bool
	entry *entry        // nil: the delivery is over
	child *childContext // nil: nobody has asked for Done
}

type childContext struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelFunc
}

// end cancels the context.
func (c *deliveryContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
}

// cancel is end with the lock held.
func (c *deliveryContext) cancel() {
	c.ended = true
	if c.child != nil {
		c.child.cancel()
	}
}

// over ends the delivery. A handler that keeps its message does not keep the entry in memory.
func (c *deliveryContext) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
	c.entry = nil
}

// current returns the entry of the delivery; nil: it is over.
func (c *deliveryContext) current() *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entry
}

// Done is part of context.Context.
func (c *deliveryContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		child, cancel := context.WithCancel(c.subscription.messages)
		c.child = &childContext{child, cancel}
		if c.ended {
			cancel()
		}
	}
	return c.child.Done()
}

// Err is part of context.Context.
func (c *deliveryContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.child != nil:
		return c.child.Err()
	case c.ended:
		return context.Canceled
	default:
		return c.subscription.messages.Err()
	}
}

// Deadline is part of context.Context.
func (c *deliveryContext) Deadline() (time.Time, bool) { return c.subscription.messages.Deadline() }

// Value is part of context.Context. It asks the child, if there is one. So the package context
// finds the child, and needs no goroutine to end contexts that are derived from this one.
func (c *deliveryContext) Value(key any) any {
	c.mu.Lock()
	child := c.child
	c.mu.Unlock()
	if child != nil {
		return child.Value(key)
	}
	return c.subscription.messages.Value(key)
}
