package main

import "fmt"

// orderCheck checks the order that a subscription promises for each key queue: one message is
// delivered at a time, a nacked one comes before its successors, and new entries come in the order
// of the stream. Claimed entries may come in between. They have more than one delivery, unless no
// handler had them before.
type orderCheck struct {
	*history
	sub     *subscription
	members []*subscription // of the group
	queues  map[string]*keyQueue
	queueOf map[string]*keyQueue // the queue of an entry, by ID
	gone    map[string]bool      // entries lost while they were held
	found   []string             // findings
}

// keyQueue is a sequence of messages that are delivered in order.
type keyQueue struct {
	open   string // in flight
	nacked string // to be redelivered before all others
	since  int64  // of the nack
	// exhausted is set if the nacked one has reached the delivery limit. The others do not wait for
	// it if it can't be dead-lettered.
	exhausted bool
	count     int64 // deliveries of the last one
	newest    event // newest entry that was read from the stream
}

// checkOrder returns the deliveries of a subscription that were out of order.
func (h *history) checkOrder(s *subscription, members []*subscription) []string {
	c := orderCheck{
		history: h, sub: s, members: members,
		queues: map[string]*keyQueue{}, queueOf: map[string]*keyQueue{}, gone: map[string]bool{},
	}
	for _, e := range s.events {
		if e.kind == lost {
			c.gone[e.id] = true
		}
	}
	for _, e := range s.events {
		q := c.queueOf[e.id]
		switch {
		case e.kind == delivered:
			c.delivered(e)
		case e.kind == acked && q != nil && q.open == e.id:
			q.open = ""
		case e.kind == nacked && q != nil && q.open == e.id:
			q.open, q.nacked, q.since, q.exhausted = "", e.id, e.at, s.group.exhausted(q.count)
		}
	}
	return c.found
}

func (c *orderCheck) complainf(e event, format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf("%s, group %s, at %s: entry %s (%s), delivery %d, ",
		c.sub.process.name, c.sub.group.Name, clock(e.at), e.id, e.text, e.deliveries)+fmt.Sprintf(format, args...))
}

func (c *orderCheck) delivered(e event) {
	name, ordered := c.sub.group.keyQueue(e.text)
	if !ordered {
		return
	}
	q := c.queues[name]
	if q == nil {
		q = &keyQueue{}
		c.queues[name] = q
	}
	if q.open != "" {
		c.complainf(e, "came while %s was unacknowledged", q.open)
	}
	if q.nacked != "" && q.nacked != e.id && !c.gone[q.nacked] && !q.exhausted && !c.mayBeElsewhere(q.since, e.at) {
		c.complainf(e, "came before %s, which was nacked", q.nacked)
	}
	if first := c.queueOf[e.id] == nil; first && e.deliveries == 1 {
		c.fresh(q, e)
	}
	c.queueOf[e.id] = q
	q.open, q.nacked, q.count = e.id, "", e.deliveries
}

// mayBeElsewhere reports whether a message that was nacked at a time was released in a pause, and
// another subscription got it.
func (c *orderCheck) mayBeElsewhere(since, now int64) bool {
	return len(c.members) > 1 && c.wasPaused(c.sub, since, now)
}

// exhausted reports whether a message with this number of deliveries is dead-lettered.
func (g group) exhausted(deliveries int64) bool {
	return g.MaxDeliveries > 0 && deliveries >= int64(g.MaxDeliveries)
}

// fresh checks an entry that seems to be read from the stream: it has to be newer than those
// before.
func (c *orderCheck) fresh(q *keyQueue, e event) {
	switch {
	case q.newest.id == "" || precedes(q.newest.id, e.id):
		q.newest = e
	case precedes(e.id, q.newest.id) && !c.mayBeLate(e, q.newest):
		c.complainf(e, "came after %s", q.newest.id)
	}
}

// mayBeLate reports whether an entry that seems new may come after a newer one: the group was
// recreated, the reply with it was lost, or another subscription had read it ahead and released it
// at its Close or in a pause.
func (c *orderCheck) mayBeLate(e, newest event) bool {
	since := c.triedAt(newest.text)
	if overlaps(c.destroyed[c.sub.group.Name], since, e.at) || overlaps(c.sub.outages, since, e.at) {
		return true
	}
	for _, other := range c.members {
		if other != c.sub && c.wasPaused(other, c.triedAt(e.text), e.at) {
			return true
		}
		if other != c.sub && other.closing != (span{}) && overlaps([]span{other.closing}, c.triedAt(e.text), e.at) {
			return true
		}
	}
	return false
}
