package subscription

import (
	"context"
	"sync"
	"time"
)

// deliveryContext is the context of one delivery: a child of the subscription's context that ends when the
// handler settled the message or the lease is lost. Most handlers never wait for its end. So the context is
// registered with its parent, which costs more than the rest of it, only when somebody asks for Done.
type deliveryContext struct {
	parent context.Context

	mu     sync.Mutex
	ended  bool
	child  context.Context // nil: nobody has asked for Done
	cancel context.CancelFunc
}

// end cancels the context.
func (c *deliveryContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Done is part of context.Context.
func (c *deliveryContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		c.child, c.cancel = context.WithCancel(c.parent)
		if c.ended {
			c.cancel()
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
		return c.parent.Err()
	}
}

// Deadline is part of context.Context.
func (c *deliveryContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value is part of context.Context. It asks the child, if there is one: so the package context finds
// the child, and needs no goroutine to end contexts that are derived from this one.
func (c *deliveryContext) Value(key any) any {
	c.mu.Lock()
	child := c.child
	c.mu.Unlock()
	if child != nil {
		return child.Value(key)
	}
	return c.parent.Value(key)
}
