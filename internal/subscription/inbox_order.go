package subscription

// line is the entries of a key: one of them, the head, is queued, paused or in a lane; the others wait behind it.
type line struct {
	head   *entry
	behind fifo[*entry]
}

// order is what an inbox keeps.
type order uint8

const (
	unordered order = iota
	byKey           // one entry of a key at a time
	strict          // one entry at a time
)

// enqueue puts an entry behind all others, in an ordered inbox behind those of its key. A sorted one comes before all that
// are newer and that no handler has had.
func (b *inbox) enqueue(e *entry, sorted bool) {
	e.state = queued
	if b.order == unordered || e.aside > 0 {
		b.queue.push(e)
		return
	}
	l := b.lines[e.key]
	switch {
	case l == nil:
		b.lines[e.key] = &line{head: e}
		b.queue.insert(b.place(&b.queue, e, sorted), e)
	case sorted && l.head.state == queued && l.head.isLater(e.ID):
		b.queue.remove(func(other *entry) bool { return other == l.head })
		l.behind.pushFront(l.head)
		b.lined++
		l.head = e
		b.queue.insert(b.place(&b.queue, e, sorted), e)
	default:
		l.behind.insert(b.place(&l.behind, e, sorted), e)
		b.lined++
	}
}

// place is where an entry goes in a queue.
func (b *inbox) place(q *fifo[*entry], e *entry, sorted bool) int {
	if sorted {
		if i := q.index(func(other *entry) bool { return other.isLater(e.ID) }); i >= 0 {
			return i
		}
	}
	return q.len()
}

// holdBehind makes entries that no handler has had, and that are newer than the given one, wait: it is another's, and
// about to be claimed. Empty: none waits.
func (b *inbox) holdBehind(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setGap(id)
}

// setGap is holdBehind; it reports whether anything changed.
func (b *inbox) setGap(id string) bool {
	if b.order == unordered || b.gap == id {
		return false
	}
	b.gap = id
	b.ready.Broadcast()
	return true
}

// takeable reports whether a lane may have the first entry of the queue.
func (b *inbox) takeable() bool {
	return b.queue.len() > 0 && (b.gap == "" || !b.queue.first().isLater(b.gap))
}

// unclaim notes that an entry no longer waits for its first handler here.
func (b *inbox) unclaim(e *entry) {
	if e.Claimed {
		e.Claimed = false
		b.claimed--
	}
}

// requeue puts an entry before all others: it is the oldest, and holds its line.
func (b *inbox) requeue(e *entry) {
	e.state = queued
	b.queue.pushFront(e)
	b.ready.Signal()
}

// nextInLine lets the successor of an entry be taken.
func (b *inbox) nextInLine(e *entry) {
	if b.order == unordered || e.aside > 0 {
		return
	}
	l := b.lines[e.key]
	if l.behind.len() == 0 {
		delete(b.lines, e.key)
		return
	}
	b.lined--
	l.head = l.behind.pop()
	b.queue.insert(b.place(&b.queue, l.head, l.head.Claimed), l.head)
	b.ready.Signal()
}
