package subscription

// order is what a subscription keeps.
type order uint8

const (
	unordered order = iota
	byKey           // one entry of a key is in flight at a time
	strict          // one entry is in flight at a time
)

// keyQueue holds the entries of one key. The head is ready, paused or in flight; the others are
// blocked by it.
type keyQueue struct {
	head    *entry
	blocked fifo[*entry]
}

// keyQueues decides which entry a worker takes next. In an ordered subscription only the head of
// each key queue is ready. The inbox's lock guards it.
type keyQueues struct {
	order   order
	ready   fifo[*entry]
	byKey   map[string]*keyQueue
	blocked int    // entries behind the head of their key queue
	claimed int    // entries of other consumers that no handler has had yet
	gap     string // entries from this ID on are being claimed: newer ones wait; empty: none
}

func newKeyQueues(order order) keyQueues {
	return keyQueues{order: order, byKey: make(map[string]*keyQueue)}
}

// add queues a new entry behind all others of its key. A sorted entry goes before those that are
// newer and that no handler has had.
func (q *keyQueues) add(e *entry, sorted bool) {
	if e.Claimed {
		q.claimed++
	}
	if q.order == unordered {
		q.ready.push(e)
		return
	}
	k := q.byKey[e.key]
	switch {
	case k == nil:
		q.byKey[e.key] = &keyQueue{head: e}
		q.insert(&q.ready, e, sorted)
	case sorted && k.head.state == queued && k.head.isLater(e.ID):
		q.ready.remove(func(other *entry) bool { return other == k.head })
		k.blocked.pushFront(k.head)
		q.blocked++
		k.head = e
		q.insert(&q.ready, e, sorted)
	default:
		q.insert(&k.blocked, e, sorted)
		q.blocked++
	}
}

func (q *keyQueues) insert(queue *fifo[*entry], e *entry, sorted bool) {
	place := queue.len()
	if sorted {
		if i := queue.index(func(other *entry) bool { return other.isLater(e.ID) }); i >= 0 {
			place = i
		}
	}
	queue.insert(place, e)
}

// requeue makes an entry ready again, before all others: it is the oldest, and the head of its key
// queue.
func (q *keyQueues) requeue(e *entry) { q.ready.pushFront(e) }

// hasNext reports whether a worker may take an entry.
func (q *keyQueues) hasNext() bool {
	return q.ready.len() > 0 && (q.gap == "" || !q.ready.first().isLater(q.gap))
}

// next removes the entry that a worker takes.
func (q *keyQueues) next() *entry {
	e := q.ready.pop()
	if e.Claimed {
		e.Claimed = false
		q.claimed--
	}
	return e
}

// unblock makes the successor of an entry ready. It reports whether there is one.
func (q *keyQueues) unblock(e *entry) bool {
	if q.order == unordered || e.deferrals > 0 {
		return false
	}
	k := q.byKey[e.key]
	if k.blocked.len() == 0 {
		delete(q.byKey, e.key)
		return false
	}
	q.blocked--
	k.head = k.blocked.pop()
	q.insert(&q.ready, k.head, k.head.Claimed)
	return true
}

// removeAll empties the queues. Entries that are with workers stay the heads of their key queues.
func (q *keyQueues) removeAll() {
	q.ready, q.blocked, q.claimed, q.gap = fifo[*entry]{}, 0, 0, ""
	for key, k := range q.byKey {
		k.blocked = fifo[*entry]{}
		if k.head.state != inFlight && k.head.state != settling {
			delete(q.byKey, key)
		}
	}
}

// blocking returns the entry that all others wait for, in strict order without keys; nil: there is
// none.
func (q *keyQueues) blocking() *entry {
	if q.order != strict || q.byKey[""] == nil {
		return nil
	}
	return q.byKey[""].head
}

// setGap holds back entries that no handler has had and that are newer than the given ID, because
// the entry with that ID is about to be claimed. An empty ID ends the wait. It reports whether
// anything changed.
func (q *keyQueues) setGap(id string) bool {
	if q.order == unordered || q.gap == id {
		return false
	}
	q.gap = id
	return true
}

// waiting counts the entries that are ready, and those that have to wait for others.
func (q *keyQueues) waiting() (ready, blocked int) {
	if q.gap == "" {
		return q.ready.len(), q.blocked
	}
	// All other entries are newer, and wait for those that are being claimed.
	ready = q.ready.count(func(e *entry) bool { return !e.isLater(q.gap) })
	return ready, max(0, q.claimed-ready)
}
