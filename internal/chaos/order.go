package main

import "fmt"

// line is a sequence of messages that are promised to come in order.
type line struct {
	open   string // delivered, and neither acked nor nacked
	nacked string // comes again before all others
	newest event  // of those that came fresh from the stream
}

// checkOrder checks what a subscription promises for each line: one message at a time; a nacked one comes again before
// its successors; and what it read itself comes in the order of the stream. What it claimed from others may come in between:
// the server counts one delivery more of it, unless nobody's handler had it.
func (h *history) checkOrder(v *verdict, s *subscription, members []*subscription) {
	lines := map[string]*line{}
	lineOf := map[string]*line{} // by entry ID
	gone := map[string]bool{}    // lost while it was held
	for _, e := range s.events {
		if e.kind == lost {
			gone[e.id] = true
		}
	}
	complain := func(e event, format string, args ...any) {
		v.disorder = append(v.disorder, fmt.Sprintf("%s, group %s, at %s: entry %s (%s), delivery %d, ",
			s.process.name, s.group.Name, clock(e.at), e.id, e.uuid, e.deliveries)+fmt.Sprintf(format, args...))
	}
	for _, e := range s.events {
		l := lineOf[e.id]
		switch {
		case e.kind == delivered:
			name, ordered := s.group.line(e.uuid)
			if !ordered {
				continue
			}
			seen := l != nil
			if l = lines[name]; l == nil {
				l = &line{}
				lines[name] = l
			}
			lineOf[e.id] = l
			if l.open != "" {
				complain(e, "came while %s was unacknowledged", l.open)
			}
			if l.nacked != "" && l.nacked != e.id && !gone[l.nacked] {
				complain(e, "came before %s, which was nacked", l.nacked)
			}
			if !seen && e.deliveries == 1 {
				if l.newest.id != "" && precedes(e.id, l.newest.id) && !h.mayBeLate(s, e, l.newest, members) {
					complain(e, "came after %s", l.newest.id)
				}
				if l.newest.id == "" || precedes(l.newest.id, e.id) {
					l.newest = e
				}
			}
			l.open, l.nacked = e.id, ""
		case e.kind == acked && l != nil && l.open == e.id:
			l.open = ""
		case e.kind == nacked && l != nil && l.open == e.id:
			l.open, l.nacked = "", e.id
		}
	}
}

// mayBeLate reports whether something allows an entry that looks fresh to come after a newer one: the group began anew; the
// reply in which it was handed out was lost; or another subscription had read it ahead, and gave it back at its Close.
func (h *history) mayBeLate(s *subscription, e, newest event, members []*subscription) bool {
	if overlaps(h.destroyed[s.group.Name], h.triedAt(newest.uuid), e.at) || overlaps(s.outages, h.triedAt(newest.uuid), e.at) {
		return true
	}
	for _, other := range members {
		if other != s && other.closing != (span{}) && overlaps([]span{other.closing}, h.triedAt(e.uuid), e.at) {
			return true
		}
	}
	return false
}
