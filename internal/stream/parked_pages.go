package stream

import (
	"context"
	"strconv"
	"time"
)

// ParkedEntry is an entry of a retry queue.
type ParkedEntry struct {
	Stored

	Due        time.Time // by the server's clock; with a holder: when its lease ends
	Holder     string
	Deliveries int64
	score      string
}

// ParkedPages reads the retry queue of a group in pages.
type ParkedPages struct {
	inspection *Inspection
	queue      string
	last       ParkedEntry
	seen       map[string]struct{} // an entry whose lease is renewed moves back
}

// Parked returns the pages of the retry queue of a group.
func (i *Inspection) Parked(group string) *ParkedPages {
	return &ParkedPages{inspection: i, queue: i.keys.RetryQueues + group, seen: make(map[string]struct{})}
}

// Next returns the next page, in the order in which entries are due; more: another one may follow.
func (p *ParkedPages) Next(ctx context.Context) (entries []ParkedEntry, more bool, err error) {
	if p.inspection.keys.RetryQueues == "" {
		return nil, false, nil
	}
	r, err := p.inspection.run(ctx, call{
		parkedPageScript, retryKeys(p.queue),
		[]any{p.last.score, p.last.ID, maxPageEntries, maxPageBytes},
		pipelineTime,
	})
	if err != nil {
		return nil, false, err
	}
	for n := range r {
		e := r.list(n)
		due, _ := strconv.ParseFloat(e.text(2), 64)
		p.last = ParkedEntry{
			Stored: Stored{ID: e.text(0), Fields: e.list(5)}, score: e.text(1), Due: time.UnixMilli(int64(due)),
			Holder: e.text(3), Deliveries: e.number(4),
		}
		if _, again := p.seen[p.last.ID]; again {
			continue
		}
		p.seen[p.last.ID] = struct{}{}
		entries = append(entries, p.last)
	}
	return entries, len(r) > 0, nil
}
