package subscription

import "time"

// crewCheck is how often workers that were not needed since the last check are sent away.
const crewCheck = 5 * time.Second

// crew counts the workers. They are started when an entry is ready and no worker waits, so an idle
// subscription has none. The inbox's lock guards it.
type crew struct {
	start   func() // starts a worker; nil: others take the entries
	most    int
	running int
	waiting int // for an entry
	spare   int // the lowest number of waiting since the last check
	leaving int // those that end when they find nothing to do
}

// wake wakes a worker for an entry that is ready, or starts one.
func (b *inbox) wake() {
	b.ready.Signal()
	b.hire()
}

// wakeAll wakes all workers: several entries may be ready. If they are too few, each that takes an
// entry starts one more.
func (b *inbox) wakeAll() {
	b.ready.Broadcast()
	b.hire()
}

// hire starts a worker if an entry is ready that no worker waits for.
func (b *inbox) hire() {
	c := &b.crew
	if c.start == nil || c.waiting > 0 || c.running >= c.most || b.closed || b.still.on || !b.queues.hasNext() {
		return
	}
	c.running++
	c.spare = 0
	c.start()
}

// await waits until the inbox has changed. It reports false if the worker is not needed any more.
func (b *inbox) await() bool {
	c := &b.crew
	if c.leaving > 0 {
		c.leaving--
		c.running--
		return false
	}
	c.waiting++
	b.ready.Wait()
	c.waiting--
	c.spare = min(c.spare, c.waiting)
	return true
}

// setCrew sets how workers are started.
func (b *inbox) setCrew(most int, start func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.crew.most, b.crew.start = most, start
	b.hire()
}

// dismiss sends the workers away that were not needed since its last call.
func (b *inbox) dismiss() {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.crew
	n := max(0, c.spare-c.leaving)
	c.leaving += n
	c.spare = c.waiting - n
	for range n {
		b.ready.Signal()
	}
}
