package main

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// history is everything that is known of a run. The checker judges it.
type history struct {
	groups       []group
	published    map[string]*publication // by UUID
	entries      []entry                 // of the stream, at the end
	deadLetters  []deadLetter            // of the dead-letter stream, at the end
	transferred  []entry                 // for each event of a transfer: the entry that was committed
	balances     map[string]int64        // of the accounts, at the end
	processes    []*processHistory
	troubles     []span            // when the server did not answer
	jumps        []span            // when its clock jumped forward
	failing      []failingKey      // which keys failed when
	destroyed    map[string][]span // when each group was destroyed
	paused       map[string][]groupPause
	claimMinIdle time.Duration
}

// entry is one entry of the stream.
type entry struct{ id, uuid string }

// uuids returns the UUID of the message in each entry.
func (h *history) uuids() map[string]string {
	uuids := make(map[string]string, len(h.entries))
	for _, e := range h.entries {
		uuids[e.id] = e.uuid
	}
	return uuids
}

// deadLetter is an entry that a group dead-lettered.
type deadLetter struct {
	group, id, uuid string
	deliveries      int64 // as recorded in it
	at              int64 // the time in it, just before it was written
}

// processHistory is the journal of one process, and what the run did to the process.
type processHistory struct {
	name   string
	killed int64 // 0: it was not

	readTimeout time.Duration // of its clients
	storms      []span        // when its connections were cut repeatedly, or hung
	cuts        []span        // when one or all were cut
	events      []event
}

func (p *processHistory) killedBy(at int64) bool { return p.killed != 0 && p.killed <= at }

func (p *processHistory) killedIn(from, to int64) bool {
	return p.killed != 0 && from <= p.killed && p.killed <= to
}

// subscription is one subscription of a process, according to its journal.
type subscription struct {
	process *processHistory
	number  int
	group   group
	events  []event          // in order
	outages []span           // when its reads failed
	lost    map[string]int64 // when it lost the lease of an entry
	still   []span           // when its process did not run
	pauses  []localPause
	closing span // when its process closed it; the zero span: it did not
}

func (s *subscription) closedBy(at int64) bool { return s.closing != (span{}) && s.closing.from <= at }

// delivery is one delivery of an entry to a handler.
type delivery struct {
	sub        *subscription
	id, uuid   string
	at         int64
	deliveries int64
	end        kind  // acked, nacked, or 0: neither
	ended      int64 // when it ended
}

const (
	never   = int64(-1 << 63)
	forever = int64(1<<63 - 1)
)

// subscriptions moves the events of the processes to their subscriptions.
func (h *history) subscriptions() []*subscription {
	byName := map[string]group{}
	for _, g := range h.groups {
		byName[g.Name] = g
	}
	var all []*subscription
	for _, p := range h.processes {
		own := map[int]*subscription{}
		var still []span
		var closes span
		for _, e := range p.events {
			switch e.kind {
			case subscribed:
				own[e.sub] = &subscription{process: p, number: e.sub, group: byName[e.text], lost: map[string]int64{}}
			case stoodStill:
				still = append(still, span{e.from, e.at})
			case closing:
				closes = span{e.at, forever}
			case closed:
				closes.to = e.at
			default: // events of subscriptions follow below
			}
		}
		for _, e := range p.events {
			s := own[e.sub]
			if s == nil {
				continue
			}
			s.events = append(s.events, e)
			if e.kind == lost {
				s.lost[e.id] = e.at
			}
		}
		p.events = nil
		for _, s := range own {
			s.still, s.closing, s.outages, s.pauses = still, closes, outages(s.events, still), localPauses(s.events)
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *subscription) int {
		return cmp.Or(strings.Compare(a.process.name, b.process.name), cmp.Compare(a.number, b.number))
	})
	return all
}

// outages returns when the reads of a subscription failed. An outage begins when the process
// stopped running, if a read fails soon after that: its deadline passed while nobody read, and what
// the server had sent was lost.
func outages(events []event, still []span) (list []span) {
	for _, e := range events {
		switch {
		case e.kind == failing:
			list = append(list, span{stoodSince(still, e.at), forever})
		case e.kind == working && len(list) > 0:
			list[len(list)-1].to = e.at
		}
	}
	return list
}

// stoodSince returns when the process stopped running, if it did not run until shortly before at;
// otherwise at.
func stoodSince(still []span, at int64) int64 {
	for _, s := range still {
		if s.from <= at && at <= s.to+int64(calm) {
			return s.from
		}
	}
	return at
}

// deliveries returns the deliveries of a subscription.
func (s *subscription) deliveries() []*delivery {
	var list []*delivery
	last := map[string]*delivery{}
	for _, e := range s.events {
		switch e.kind {
		case delivered:
			d := &delivery{sub: s, id: e.id, uuid: e.text, at: e.at, deliveries: e.deliveries}
			list, last[e.id] = append(list, d), d
		case acked, nacked:
			if d := last[e.id]; d != nil {
				d.end, d.ended = e.kind, e.at
			}
		}
	}
	return list
}

// overlaps reports whether one of the spans overlaps the time between from and to.
func overlaps(spans []span, from, to int64) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.from <= to && s.to >= from })
}

// precedes reports whether the entry ID a comes before b.
func precedes(a, b string) bool {
	aTime, aNumber, _ := strings.Cut(a, "-")
	bTime, bNumber, _ := strings.Cut(b, "-")
	return cmp.Or(compareNumbers(aTime, bTime), compareNumbers(aNumber, bNumber)) < 0
}

// compareNumbers compares decimal numbers without leading zeros.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
