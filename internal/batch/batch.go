// Package batch is group commit: the first item goes at once, and what arrives while round
// trips are under way goes together in the next one. There is no timer and no waiting for company.
package batch

import (
	"runtime"
	"sync"
	"sync/atomic"
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
	// Size is how much an item weighs, and MaxSize bounds the sum in a batch, which has one item at least. Nil: no bound.
	Size    func(T) int
	MaxSize int

	mu      sync.Mutex
	queue   []T
	running int          // goroutines that commit, or are about to
	flying  int          // round trips under way
	settled *sync.Cond   // signalled when nothing runs and nothing is queued
	singles atomic.Int64 // round trips in a row with one item
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

// commitOnce is one round trip.
func (c *Committer[T]) commitOnce() {
	c.yield()
	if items := c.take(); len(items) > 0 {
		c.Commit(items)
		c.mu.Lock()
		c.flying--
		c.mu.Unlock()
	}
}

// manySingles is how many round trips with one item in a row show that there is no company to wait for.
const manySingles = 16

// yield lets goroutines run that are ready to add something: it goes along in the next round trip, instead of in one of
// its own. It wakes up other threads, so one that is always alone does not do it.
func (c *Committer[T]) yield() {
	if c.singles.Load() < manySingles {
		runtime.Gosched()
	}
}

// minSplit is how many items are worth two round trips.
const minSplit = 8

// take begins a round trip with what is queued. If it were the only one, and others may be under way beside it, half
// of it follows in a second one: then the other side works on one while this side works on the other.
func (c *Committer[T]) take() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.queue)
	if n == 0 {
		return nil
	}
	if parallel := c.parallel(); n >= minSplit && c.flying == 0 && parallel > 1 {
		n = (n + 1) / 2
		if c.running < parallel {
			c.running++
			go c.run()
		}
	}
	if c.MaxItems > 0 {
		n = min(n, c.MaxItems)
	}
	n = c.fitting(n)
	if n == 1 {
		c.singles.Add(1)
	} else {
		c.singles.Store(0)
	}
	items := c.queue[:n:n]
	c.queue = c.queue[n:]
	c.flying++
	return items
}

// fitting returns how many of the first n items fit in a batch.
func (c *Committer[T]) fitting(n int) int {
	if c.Size == nil {
		return n
	}
	sum := 0
	for i, item := range c.queue[:n] {
		if sum += c.Size(item); sum > c.MaxSize {
			return max(i, 1)
		}
	}
	return n
}

// again reports whether the caller goes on with the next round trip; otherwise it has ended. Where there are more than
// may be now, it leaves that to the others. Those whom the last one woke get to run first: they would find nothing under
// way, and one would go alone before the others.
func (c *Committer[T]) again() bool {
	c.yield()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 && c.running <= c.parallel() {
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
