package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// maxReported is how many entries a list of a member record has at most. maxVisited is how many
	// entries are visited at most, because workers wait for the lock during that time.
	maxReported = 10
	maxVisited  = 2000
	// idleEvery is after how many intervals a member that has nothing to do writes a record.
	idleEvery = 3
)

// reports writes what this member does, for other members and package admin.
type reports interface {
	// reportEvery is how often report is called; 0: never.
	reportEvery() time.Duration
	// report writes the record that collect completes.
	report(ctx context.Context, collect func(*stream.MemberRecord))
}

// noReports is for subscriptions without a group.
type noReports struct{}

func (noReports) reportEvery() time.Duration                         { return 0 }
func (noReports) report(context.Context, func(*stream.MemberRecord)) {}

// memberReports writes the member record. One goroutine at a time uses it.
type memberReports struct {
	record  *stream.MemberRecord // what does not change; nil: nothing is written
	write   func(context.Context, stream.MemberRecord) error
	trouble outage.Outage

	skip   int  // how many intervals may pass without a record while nothing changes
	paused bool // in the last record
}

func (m *memberReports) reportEvery() time.Duration {
	if m.record == nil {
		return 0
	}
	return m.record.Every
}

func (m *memberReports) report(ctx context.Context, collect func(*stream.MemberRecord)) {
	record := *m.record
	collect(&record)
	idle := record.InFlight == 0 && record.Ahead == 0 && len(record.Failing) == 0
	if idle && m.skip > 0 && record.Paused == m.paused {
		m.skip--
		return
	}
	m.skip = 0
	if idle {
		record.Every *= idleEvery
	}
	err := m.write(ctx, record)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.trouble.Failed(err)
	default:
		m.trouble.Over()
		m.paused = record.Paused
		if idle {
			m.skip = idleEvery - 1
		}
	}
}

// describe completes a member record with what the inbox holds.
func (b *inbox) describe(record *stream.MemberRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	blocking := b.queues.blocking()
	var held, failing longest
	visited := 0
	for _, e := range b.table.entries {
		if visited++; visited > maxVisited {
			break
		}
		switch {
		case e.lost:
		case e.state == inFlight && !e.heldSince.IsZero():
			held.add(e, now.Sub(e.heldSince))
			record.Blocking = record.Blocking || e == blocking
		case e.isFailing() && e != blocking:
			failing.add(e, now.Sub(e.trouble.nackedAt))
		}
	}
	if blocking != nil && blocking.isFailing() {
		record.Blocking = true
		failing.putFirst(blocking, now.Sub(blocking.trouble.nackedAt))
	}
	record.InFlight, record.Ahead = b.working, b.queues.ready.len()+b.queues.blocked
	record.Held, record.Failing = held.list(), failing.list()
}

// isFailing reports whether a handler nacked the entry, and it waits for its redelivery. Only then
// may others than the worker read its trouble.
func (e *entry) isFailing() bool {
	return (e.state == paused || e.state == queued) && e.trouble != nil && !e.trouble.nackedAt.IsZero()
}

// longest are the entries with the longest times, the longest first.
type longest struct {
	entries [maxReported + 1]aged // the last one has no meaning between calls of add
	n       int
}

type aged struct {
	entry *entry
	age   time.Duration
}

func (l *longest) add(e *entry, age time.Duration) {
	place := l.n
	for place > 0 && l.entries[place-1].age < age {
		l.entries[place] = l.entries[place-1]
		place--
	}
	l.entries[place] = aged{e, age}
	l.n = min(l.n+1, maxReported)
}

// putFirst adds an entry before all others.
func (l *longest) putFirst(e *entry, age time.Duration) {
	copy(l.entries[1:], l.entries[:l.n])
	l.entries[0] = aged{e, age}
	l.n = min(l.n+1, maxReported)
}

func (l *longest) list() (list []stream.HeldEntry) {
	for _, a := range l.entries[:l.n] {
		list = append(list, stream.HeldEntry{ID: a.entry.ID, For: a.age, Deliveries: a.entry.delivered()})
	}
	return list
}
