package main

import (
	"cmp"
	"fmt"
	"slices"
)

// orderWalk walks through the handlings of a stream by generation, and in a generation by time.
type orderWalk struct {
	*memberHistory

	verdict *memberVerdict
	all     map[handlerKey][]*handling
	done    map[string]int       // by key: all messages up to this one are settled
	acked   map[string]*handling // by entry
	running map[string]*handling // of the generation, by queue
	newest  map[string]*handling // of the generation, by queue
	waiting []*handling          // without an OrderingKey: one for each entry, in the order of the stream, from the first that is not settled on
}

// checkOrder checks that a message begins when all its predecessors in the key are settled, and that a
// message that was acknowledged comes again only after a fault. In a generation one message of a queue
// runs at a time, and they come in the order of the stream.
func (h *memberHistory) checkOrder(v *memberVerdict, s *ownedStream) {
	w := orderWalk{memberHistory: h, verdict: v, all: map[handlerKey][]*handling{}, done: map[string]int{}, acked: map[string]*handling{}}
	for _, o := range s.owners {
		for _, one := range o.handlings {
			w.all[one.handlerKey()] = append(w.all[one.handlerKey()], one)
		}
	}
	if s.group != "keyed" {
		w.waiting = s.entries()
	}
	for _, o := range s.owners {
		w.running, w.newest = map[string]*handling{}, map[string]*handling{}
		for _, one := range byTime(o.handlings) {
			if one.begins {
				w.began(one.handling)
				continue
			}
			delete(w.running, one.queue())
			if one.settled() && !one.stale {
				w.done[one.Key] = max(w.done[one.Key], one.Number)
				w.acked[one.Entry] = one.handling
			}
		}
	}
}

// entries returns a handling of each entry, in the order of the stream.
func (s *ownedStream) entries() (list []*handling) {
	for _, o := range s.owners {
		list = append(list, o.handlings...)
	}
	slices.SortFunc(list, func(a, b *handling) int {
		switch {
		case precedes(a.Entry, b.Entry):
			return -1
		case a.Entry == b.Entry:
			return 0
		default:
			return 1
		}
	})
	return slices.CompactFunc(list, func(a, b *handling) bool { return a.Entry == b.Entry })
}

// queue returns the key of a message in groups with an OrderingKey. In the others all messages of a
// stream are in one queue.
func (h *handling) queue() string {
	if h.Group == "keyed" {
		return h.Key
	}
	return ""
}

// moment is the beginning or the end of a handling.
type moment struct {
	*handling

	begins bool
	at     int64
}

func byTime(handlings []*handling) []moment {
	var all []moment
	for _, one := range handlings {
		all = append(all, moment{one, true, one.At})
		if one.ended != 0 {
			all = append(all, moment{one, false, one.ended})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (w *orderWalk) complainf(format string, args ...any) {
	w.verdict.disorder = append(w.verdict.disorder, fmt.Sprintf(format, args...))
}

func (w *orderWalk) began(one *handling) {
	for next := w.done[one.Key] + 1; next < one.Number; next++ {
		if !w.wasDead(handlerKey{one.Group, one.Key, next}, one) {
			w.complainf("%s began before number %d was settled", one, next)
			break
		}
		w.done[one.Key] = next
	}
	queue := one.queue()
	if other := w.running[queue]; other != nil {
		w.complainf("%s began while the same owner handled %s", one, other.Entry)
	}
	if n := w.newest[queue]; n != nil && precedes(one.Entry, n.Entry) && !overlaps(w.troubles, n.At, one.At) {
		w.complainf("%s came after %s in the same generation", one, n.Entry)
	}
	for len(w.waiting) > 0 && precedes(w.waiting[0].Entry, one.Entry) {
		if first := w.waiting[0]; w.acked[first.Entry] == nil && !w.wasDead(first.handlerKey(), one) {
			w.complainf("%s began before %s was settled", one, first.Entry)
			break
		}
		w.waiting = w.waiting[1:]
	}
	w.running[queue], w.newest[queue] = one, one
	if before := w.acked[one.Entry]; before != nil {
		w.verdict.repeated++
		if !w.disturbed(before.process, before.ended, one.At) {
			w.verdict.again = append(w.verdict.again, fmt.Sprintf("%s was acknowledged by %s at %s", one, before.process.name, clock(before.ended)))
		}
	}
}

// wasDead reports whether a message was a dead letter when another one began. Handlers of former owners
// may go on: the next owner dead-letters a message that has had all its deliveries.
func (w *orderWalk) wasDead(message handlerKey, one *handling) bool {
	return w.dead[message] && !slices.ContainsFunc(w.all[message], func(h *handling) bool {
		return h.Generation > one.Generation || h.Generation == one.Generation && h.end() > one.At
	})
}
