package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// memberHistory is everything that is known of a run with partitions. The checker judges it.
type memberHistory struct {
	lease     time.Duration
	published []memberMessage
	uncertain bool // some messages may be in their streams twice
	processes []*memberProcess
	dead      map[handlerKey]bool // the messages of the dead letters
	letters   []memberDeadLetter
	committed map[[2]string][]string // by group and stream: "key number entry generation" of each Commit
	troubles  []span                 // when a server was down, and clients recovered
	busy      []span                 // when the machine was too busy to measure gaps; check finds it
}

// memberProcess is the journal of a process.
type memberProcess struct {
	name   string
	killed int64 // 0: it was not
	events []memberEvent
}

// logged reports whether a journal tells that a member of the group owned a stream.
func (h *memberHistory) logged(g memberGroup) bool {
	return slices.ContainsFunc(h.processes, func(p *memberProcess) bool {
		return slices.ContainsFunc(p.events, func(e memberEvent) bool { return e.Kind == memberOwns && e.Group == g.name })
	})
}

// handlerKey is a message for a group.
type handlerKey struct {
	group, key string
	number     int
}

// memberVerdict has the findings and figures of the checker.
type memberVerdict struct {
	lost      []string // published, and neither acknowledged nor dead-lettered
	disorder  []string // handled before a predecessor of its key was settled, or after a successor
	twoOwners []string // handlers of two generations at a time without a reason, or what a former owner settled
	again     []string // handled again after an ack without a reason
	committed []string // committed twice, not at all, or out of order
	letters   []string // dead letters that came too early or twice, or after an ack
	late      []string // gaps are too long
	failures  []string

	handled, commits, generations, repeated, overlaps int

	longestOverlap time.Duration
	gaps           map[string][]time.Duration
	ignoredGaps    map[string]int // a server was down, or the machine was too busy
}

func (v *memberVerdict) result() string {
	for _, list := range [][]string{v.lost, v.disorder, v.twoOwners, v.again, v.committed, v.letters, v.late, v.failures} {
		if len(list) > 0 {
			return fmt.Sprintf("FAIL: %d lost, %d out of order, %d of two owners, %d handled again, %d commits wrong, "+
				"%d dead letters wrong, %d gaps too long, %d other failures",
				len(v.lost), len(v.disorder), len(v.twoOwners), len(v.again), len(v.committed), len(v.letters), len(v.late), len(v.failures))
		}
	}
	return "PASS"
}

// handling is one run of a handler.
type handling struct {
	memberEvent // its beginning

	process *memberProcess
	ended   int64  // 0: its process died before
	outcome string // empty: it did not end
	stale   bool   // it ended when another owner handled messages: its ack counts nothing
}

func (h *handling) String() string {
	return fmt.Sprintf("%s, group %s, %s, generation %d, at %s: key %s, number %d (%s, delivery %d)",
		h.process.name, h.Group, h.Stream, h.Generation, clock(h.At), h.Key, h.Number, h.Entry, h.Deliveries)
}

func (h *handling) handlerKey() handlerKey { return handlerKey{h.Group, h.Key, h.Number} }

// settled reports whether the handler acknowledged its message, as far as it knows.
func (h *handling) settled() bool {
	return h.outcome == outcomeAcked || h.outcome == outcomeCommitted
}

// end is when nothing of the handler runs any more.
func (h *handling) end() int64 {
	switch {
	case h.ended != 0:
		return h.ended
	case h.process.killed != 0:
		return h.process.killed
	default:
		return h.At // the run ended
	}
}

// ownership is one generation of a stream.
type ownership struct {
	generation int64
	process    *memberProcess
	at         int64 // when its process logged that it is the owner
	handlings  []*handling
}

// ownedStream is a stream of a group, with its generations in their order.
type ownedStream struct {
	group, stream string
	owners        []*ownership
}

// streams sorts the journals by stream and generation.
func (h *memberHistory) streams() []*ownedStream {
	found := map[[2]string]*ownedStream{}
	owners := map[*ownedStream]map[int64]*ownership{}
	owner := func(p *memberProcess, e memberEvent) *ownership {
		s := found[[2]string{e.Group, e.Stream}]
		if s == nil {
			s = &ownedStream{group: e.Group, stream: e.Stream}
			found[[2]string{e.Group, e.Stream}], owners[s] = s, map[int64]*ownership{}
		}
		o := owners[s][e.Generation]
		if o == nil {
			o = &ownership{generation: e.Generation, process: p, at: e.At}
			owners[s][e.Generation], s.owners = o, append(s.owners, o)
		}
		return o
	}
	for _, p := range h.processes {
		running := map[memberEvent]*handling{}
		for _, e := range p.events {
			same := e
			same.Kind, same.At, same.Outcome = "", 0, ""
			switch e.Kind {
			case memberOwns:
				o := owner(p, e)
				o.at = min(o.at, e.At)
			case memberBegins:
				o := owner(p, e)
				running[same] = &handling{memberEvent: e, process: p}
				o.handlings = append(o.handlings, running[same])
			case memberEnds:
				if r := running[same]; r != nil {
					r.ended, r.outcome = e.At, e.Outcome
				}
			}
		}
	}
	var all []*ownedStream
	for _, s := range found {
		s.sort(h.committed[[2]string{s.group, s.stream}])
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *ownedStream) int {
		return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(a.stream, b.stream))
	})
	return all
}

// sort sorts the generations and their handlings. It finds the acks that came too late, and what was
// committed although the handler did not learn it: its process was killed, or the reply was lost.
func (s *ownedStream) sort(committed []string) {
	slices.SortFunc(s.owners, func(a, b *ownership) int { return cmp.Compare(a.generation, b.generation) })
	last := map[string]*handling{}
	for _, o := range s.owners {
		slices.SortStableFunc(o.handlings, func(a, b *handling) int { return cmp.Compare(a.At, b.At) })
		for _, one := range o.handlings {
			last[fmt.Sprint(one.Key, " ", one.Number, " ", one.Entry, " ", one.Generation)] = one
		}
	}
	for _, line := range committed {
		if one := last[line]; one != nil {
			one.outcome, one.ended = outcomeCommitted, one.end()
		}
	}
	for i, o := range s.owners {
		next := s.firstAfter(i)
		for _, one := range o.handlings {
			one.stale = next != nil && one.outcome == outcomeAcked && one.ended > next.At
		}
	}
}

// firstAfter returns the first handling of the generations after the ith one; nil: none.
func (s *ownedStream) firstAfter(i int) (first *handling) {
	for _, o := range s.owners[i+1:] {
		if len(o.handlings) > 0 && (first == nil || o.handlings[0].At < first.At) {
			first = o.handlings[0]
		}
	}
	return first
}

// check judges the run.
func (h *memberHistory) check() *memberVerdict {
	v := &memberVerdict{gaps: map[string][]time.Duration{}, ignoredGaps: map[string]int{}}
	streams := h.streams()
	settled := map[handlerKey]bool{}
	for _, s := range streams {
		v.generations += len(s.owners)
		for _, o := range s.owners {
			v.handled += len(o.handlings)
			for _, one := range o.handlings {
				settled[one.handlerKey()] = settled[one.handlerKey()] || one.settled() && !one.stale
			}
		}
		h.checkOrder(v, s)
		h.checkOwners(v, s)
		h.checkCommits(v, s)
	}
	h.busy = busy(streams)
	for _, s := range streams {
		h.findGaps(v, s)
		h.checkDeadLetters(v, s)
	}
	for _, m := range h.published {
		for _, g := range memberGroups {
			key := handlerKey{g.name, m.key, m.number}
			if g.topic == m.topic && m.doneAt != 0 && !settled[key] && !h.dead[key] {
				v.lost = append(v.lost, fmt.Sprintf("group %s: key %s, number %d, published at %s", g.name, m.key, m.number, clock(m.doneAt)))
			}
		}
	}
	h.checkGaps(v)
	return v
}

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

// disturbed reports whether a process was killed or stood still, or a server was down, in this time.
func (h *memberHistory) disturbed(p *memberProcess, from, to int64) bool {
	return p.killed != 0 && from <= p.killed && p.killed <= to || overlaps(p.stood(), from, to) || overlaps(h.troubles, from, to)
}

// stood returns when the process did not run.
func (p *memberProcess) stood() (list []span) {
	for _, e := range p.events {
		if e.Kind == memberStood {
			list = append(list, span{e.From, e.At})
		}
	}
	return list
}

// noticing is how long after it stood still a process may run handlers of a generation that is over.
const noticing = time.Second

// checkOwners checks that handlers of two generations ran at a time only if the process of the former
// one stood still, or a server was down; and that an ack of the former one had no effect then.
func (h *memberHistory) checkOwners(v *memberVerdict, s *ownedStream) {
	handledAt := map[string]int64{} // by entry: the newest generation that handled it
	for _, o := range s.owners {
		for _, one := range o.handlings {
			handledAt[one.Entry] = o.generation
		}
	}
	for i, o := range s.owners {
		next := s.firstAfter(i)
		if next == nil {
			continue
		}
		for _, one := range o.handlings {
			if one.end() <= next.At {
				continue
			}
			v.overlaps++
			v.longestOverlap = max(v.longestOverlap, time.Duration(one.end()-max(next.At, one.At)))
			since := max(next.At-int64(h.lease)-int64(longPause(h.lease)), one.end()-int64(noticing))
			if !h.disturbed(one.process, since, one.end()) {
				v.twoOwners = append(v.twoOwners, fmt.Sprintf("%s ran until %s, and generation %d began at %s",
					one, clock(one.end()), next.Generation, clock(next.At)))
			}
			if one.stale && handledAt[one.Entry] == o.generation && !h.dead[one.handlerKey()] {
				v.twoOwners = append(v.twoOwners, fmt.Sprintf("%s was acknowledged at %s after generation %d had begun, and never came again",
					one, clock(one.ended), next.Generation))
			}
		}
	}
}

// checkCommits checks that each message that was committed is in the list of the stream once, and in
// the order of its key.
func (h *memberHistory) checkCommits(v *memberVerdict, s *ownedStream) {
	type commit struct{ key, entry string }
	seen := map[commit]bool{}
	newest := map[string]int{}
	for _, line := range h.committed[[2]string{s.group, s.stream}] {
		fields := strings.Fields(line)
		number := numberOf(fields[1])
		c := commit{fields[0], fields[2]}
		if seen[c] {
			v.committed = append(v.committed, fmt.Sprintf("group %s, %s: %s is there twice", s.group, s.stream, line))
		}
		again := number == newest[c.key] && h.uncertain // the message is in two entries
		if number <= newest[c.key] && !again {
			v.committed = append(v.committed, fmt.Sprintf("group %s, %s: %s comes after number %d", s.group, s.stream, line, newest[c.key]))
		}
		seen[c], newest[c.key] = true, max(newest[c.key], number)
		v.commits++
	}
	for _, o := range s.owners {
		for _, one := range o.handlings {
			if one.outcome == outcomeCommitted && !seen[commit{one.Key, one.Entry}] && !overlaps(h.troubles, one.At, one.ended+int64(h.lease)) {
				v.committed = append(v.committed, fmt.Sprintf("%s was committed, and it is not there", one))
			}
		}
	}
}
