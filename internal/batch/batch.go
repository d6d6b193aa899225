// Package batch is group commit: the first item goes at once, and what arrives while round
// trips are under way goes together in the next one. There is no timer and no waiting for company.
package batch

import (
	"runtime"
	"sync"
)

// Committer sends items in batches. The zero value is not usable; fill in the exported fields
// before the first use and leave them alone.
type Committer[T any] struct {
	// Commit is one round trip. Items are in the order in which they were added.
	Commit func(items []T)
	// Parallel says how many round trips may be under way at the same time now; nil: one.
	// With more than one, the order of items in different batches is not kept.
	Parallel func() int
	// MaxItems bounds a batch; 0: no bound.
	MaxItems int

	mu      sync.Mutex
	queue   []T
	running int
	settled *sync.Cond // signalled when nothing runs and nothing is queued
}

// Add queues an item. If a round trip may begin, a goroutine sends the batch.
func (c *Committer[T]) Add(item T) {
	if c.enqueue(item) {
		go c.run()
	}
}

// Do queues an item like Add, but a round trip that may begin runs in the caller's goroutine and
// is over when Do returns.
func (c *Committer[T]) Do(item T) {
	if !c.enqueue(item) {
		return
	}
	c.commitOnce()
	if c.again() {
		go c.run()
	}
}

// enqueue reports whether the caller is to begin a round trip.
func (c *Committer[T]) enqueue(item T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, item)
	if c.running >= c.parallel() {
		return false
	}
	c.running++
	return true
}

func (c *Committer[T]) parallel() int {
	if c.Parallel == nil {
		return 1
	}
	return c.Parallel()
}

// run sends batches until nothing is queued.
func (c *Committer[T]) run() {
	for {
		c.commitOnce()
		if !c.again() {
			return
		}
	}
}

// commitOnce lets goroutines that are ready to add something do so first: it goes along, instead of in a round trip
// of its own. Where nobody is ready, that costs nothing.
func (c *Committer[T]) commitOnce() {
	runtime.Gosched()
	c.mu.Lock()
	n := len(c.queue)
	if c.MaxItems > 0 {
		n = min(n, c.MaxItems)
	}
	items := c.queue[:n:n]
	c.queue = c.queue[n:]
	c.mu.Unlock()
	if n > 0 {
		c.Commit(items)
	}
}

// again reports whether the caller goes on with the next round trip; otherwise it has ended. Those
// whom the last one woke get to run first: they would find nothing under way, and one would go alone before the others.
func (c *Committer[T]) again() bool {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 {
		return true
	}
	c.running--
	if c.running == 0 && c.settled != nil {
		c.settled.Broadcast()
	}
	return false
}

// Remove takes back an item that no round trip has picked up yet, and reports whether it did.
func (c *Committer[T]) Remove(match func(T) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, item := range c.queue {
		if match(item) {
			rest := make([]T, 0, len(c.queue)-1)
			c.queue = append(append(rest, c.queue[:i]...), c.queue[i+1:]...)
			return true
		}
	}
	return false
}

// Wait returns when nothing is queued and no round trip is under way.
func (c *Committer[T]) Wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled == nil {
		c.settled = sync.NewCond(&c.mu)
	}
	for c.running > 0 || len(c.queue) > 0 {
		c.settled.Wait()
	}
}
