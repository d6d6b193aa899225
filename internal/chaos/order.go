package main

import "fmt"

// orderCheck checks what a subscription promises for each line: one message at a time; a nacked one comes again before
// its successors; and what it read itself comes in the order of the stream. What it claimed from others may come in between:
// the server counts one delivery more of it, unless nobody's handler had it.
type orderCheck struct {
	*history
	sub     *subscription
	members []*subscription // of the group
	lines   map[string]*line
	lineOf  map[string]*line // by entry ID
	gone    map[string]bool  // lost while they were held
	found   []string         // what is wrong
}

// line is a sequence of messages that are promised to come in order.
type line struct {
	open   string // delivered, and neither acked nor nacked
	nacked string // comes again before all others
	// exhausted is a nacked one that is to be given up. While that can't be done it keeps nobody waiting.
	exhausted bool
	count     int64 // of the deliveries of the newest one
	newest    event // of those that came fresh from the stream
}

// checkOrder returns what a subscription did out of order.
func (h *history) checkOrder(s *subscription, members []*subscription) []string {
	c := orderCheck{
		history: h, sub: s, members: members,
		lines: map[string]*line{}, lineOf: map[string]*line{}, gone: map[string]bool{},
	}
	for _, e := range s.events {
		if e.kind == lost {
			c.gone[e.id] = true
		}
	}
	for _, e := range s.events {
		l := c.lineOf[e.id]
		switch {
		case e.kind == delivered:
			c.delivered(e)
		case e.kind == acked && l != nil && l.open == e.id:
			l.open = ""
		case e.kind == nacked && l != nil && l.open == e.id:
			l.open, l.nacked, l.exhausted = "", e.id, s.group.exhausted(l.count)
		}
	}
	return c.found
}

func (c *orderCheck) complainf(e event, format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf("%s, group %s, at %s: entry %s (%s), delivery %d, ",
		c.sub.process.name, c.sub.group.Name, clock(e.at), e.id, e.text, e.deliveries)+fmt.Sprintf(format, args...))
}

func (c *orderCheck) delivered(e event) {
	name, ordered := c.sub.group.line(e.text)
	if !ordered {
		return
	}
	l := c.lines[name]
	if l == nil {
		l = &line{}
		c.lines[name] = l
	}
	if l.open != "" {
		c.complainf(e, "came while %s was unacknowledged", l.open)
	}
	if l.nacked != "" && l.nacked != e.id && !c.gone[l.nacked] && !l.exhausted {
		c.complainf(e, "came before %s, which was nacked", l.nacked)
	}
	if first := c.lineOf[e.id] == nil; first && e.deliveries == 1 {
		c.fresh(l, e)
	}
	c.lineOf[e.id] = l
	l.open, l.nacked, l.count = e.id, "", e.deliveries
}

// exhausted reports whether a message that was delivered so often is given up.
func (g group) exhausted(deliveries int64) bool {
	return g.MaxDeliveries > 0 && deliveries >= int64(g.MaxDeliveries)
}

// fresh checks that an entry that looks as if it was read from the stream is newer than those before.
func (c *orderCheck) fresh(l *line, e event) {
	switch {
	case l.newest.id == "" || precedes(l.newest.id, e.id):
		l.newest = e
	case precedes(e.id, l.newest.id) && !c.mayBeLate(e, l.newest):
		c.complainf(e, "came after %s", l.newest.id)
	}
}

// mayBeLate reports whether something allows an entry that looks fresh to come after a newer one: the group began again; the
// reply in which it was handed out was lost; or another subscription had read it ahead, and gave it back at its Close.
func (c *orderCheck) mayBeLate(e, newest event) bool {
	since := c.triedAt(newest.text)
	if overlaps(c.destroyed[c.sub.group.Name], since, e.at) || overlaps(c.sub.outages, since, e.at) {
		return true
	}
	for _, other := range c.members {
		if other != c.sub && other.closing != (span{}) && overlaps([]span{other.closing}, c.triedAt(e.text), e.at) {
			return true
		}
	}
	return false
}
