// Package batch implements group commit: the first item is sent at once, and items that arrive
// during round trips share the next one. No timer delays an item.
package batch

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Committer sends items in batches. Set the exported fields before the first use, and do not change
// them afterwards.
type Committer[T any] struct {
	// Commit makes one round trip. Items are in the order of their Add. Commit does not keep the
	// slice: its memory is used again.
	Commit func(items []T)
	// Parallel returns how many round trips may be in flight now; nil: one. With more than one, the
	// order of items in different batches is not kept.
	Parallel func() int
	// MaxItems bounds a batch; 0: no bound.
	MaxItems int
	// Size returns the size of an item. MaxSize bounds their sum in a batch, which has at least one
	// item. A nil Size means no bound.
	Size    func(T) int
	MaxSize int

	mu       sync.Mutex
	queue    []T
	spare    []T          // memory of an earlier batch; nil: none
	running  int          // goroutines that commit, or are about to
	inFlight int          // round trips
	settled  *sync.Cond   // signalled when nothing runs and nothing is queued
	singles  atomic.Int64 // consecutive round trips with one item
}

// Add queues an item. If a round trip may begin, a goroutine sends the batch.
func (c *Committer[T]) Add(item T) {
	if c.enqueue(item) {
		go c.run()
	}
}

// Do queues an item like Add. If a round trip may begin, it runs in the caller's goroutine and ends
// before Do returns.
func (c *Committer[T]) Do(item T) {
	if !c.enqueue(item) {
		return
	}
	c.commitOnce()
	if c.again() {
		go c.run()
	}
}

// enqueue adds the item and reports whether the caller has to begin a round trip.
func (c *Committer[T]) enqueue(item T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue == nil {
		c.queue, c.spare = c.spare, nil
	}
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

// maxSpare bounds the memory, in items, that is kept between batches.
const maxSpare = 256

// run sends batches until nothing is queued.
func (c *Committer[T]) run() {
	for {
		c.commitOnce()
		if !c.again() {
			return
		}
	}
}

// commitOnce makes one round trip.
func (c *Committer[T]) commitOnce() {
	c.yield()
	if items := c.take(); len(items) > 0 {
		c.Commit(items)
		clear(items)
		c.mu.Lock()
		c.inFlight--
		if cap(items) <= maxSpare {
			c.spare = items[:0]
		}
		c.mu.Unlock()
	}
}

// After manySingles consecutive round trips with one item, yield assumes that items come one at a
// time.
const manySingles = 16

// yield lets goroutines run that are ready to add an item, so that their items share the next round
// trip. It wakes other threads, so it is skipped while items come one at a time.
func (c *Committer[T]) yield() {
	if c.singles.Load() < manySingles {
		runtime.Gosched()
	}
}

// minSplit is the least number of items to split into two round trips.
const minSplit = 8

// take begins a round trip with the queued items. If none is in flight and two may be, it takes
// half of the items: the server works on one half while this process works on the other.
func (c *Committer[T]) take() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.queue)
	if n == 0 {
		return nil
	}
	if parallel := c.parallel(); n >= minSplit && c.inFlight == 0 && parallel > 1 {
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
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	c.inFlight++
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

// again reports whether the caller continues with the next round trip. It does not if more
// goroutines commit than Parallel allows now. Goroutines that the last round trip woke run first,
// so that their items share the next one.
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

// Remove removes a queued item, and reports whether it found one.
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

// Wait waits until nothing is queued and no round trip is in flight.
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
