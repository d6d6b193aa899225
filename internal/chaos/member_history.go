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
