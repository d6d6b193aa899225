package subscription

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// read fills the inbox until it is closed or ctx ends. No other goroutine reads from the backend.
func (s *Subscription) read(ctx context.Context) {
	trouble := outage.Outage{What: "reading from the stream", Logger: s.Logger}
	for {
		room, open := s.inbox.awaitRoom(s.backend.untilCheckpoint())
		if !open {
			return
		}
		if room.paused {
			if !s.standStill(ctx) {
				return
			}
			continue
		}
		began := time.Now()
		entries, err := s.backend.next(ctx, room)
		s.receive(entries, began)
		switch {
		case hasEnded(ctx):
			return
		case err == nil:
			trouble.Over()
		case errors.Is(err, stream.ErrTooLarge): // its entries are claimed next, a few at a time
			_ = s.recover(ctx, err) // no failure
		default:
			if !sleep(ctx, trouble.Failed(s.recover(ctx, err))) {
				return
			}
		}
	}
}

// recover prepares the next read after an error: a reply may have been lost, and with it entries
// that are ours now.
func (s *Subscription) recover(ctx context.Context, err error) error {
	if _, refused := errors.AsType[redis.Error](err); !refused {
		s.inbox.readFailed() // the reply may have been too large for the link
	}
	return s.backend.recover(ctx, err)
}

// receive hands entries to the inbox, also while Close is under way.
func (s *Subscription) receive(entries []stream.Entry, began time.Time) {
	a := arrival{entries: make([]entry, len(entries)), began: began, took: s.backend.transferTime(), gap: s.backend.gap()}
	if len(entries) > 0 {
		a.sorted = s.isUnsorted(entries)
	}
	for i := range a.entries {
		e := &a.entries[i]
		e.Entry, e.size = entries[i], entries[i].Size()
		if s.Key != nil {
			s.setKey(e)
		}
	}
	s.inbox.add(a)
	s.reportReadAhead()
	if len(entries) == 1 {
		runtime.Gosched() // a trickle: the worker runs first, the next read can wait
	}
}

// reportReadAhead tells the observer what the inbox holds, until Close empties it.
func (s *Subscription) reportReadAhead() {
	if s.Observer == nil || isClosed(s.closing) {
		return
	}
	var entries, bytes int
	s.inbox.leases(func(table *leaseTable) { entries, bytes = len(table.entries), table.bytes })
	s.Observer.ReadAhead(entries, bytes)
}

// isUnsorted reports whether the entries may be older than others that are here: they were claimed,
// or the group starts again at an earlier entry.
func (s *Subscription) isUnsorted(entries []stream.Entry) bool {
	if entries[0].Claimed {
		return true
	}
	again := s.lastRead != "" && stream.Precedes(entries[0].ID, s.lastRead)
	s.lastRead = entries[len(entries)-1].ID
	return again
}

// setKey decodes an entry for its ordering key. An entry that can't be decoded has none, and the
// worker dead-letters it.
func (s *Subscription) setKey(e *entry) {
	msg, err := s.callbacks.decode(s.Decode, e.Entry)
	if err == nil {
		e.key, err = s.callbacks.orderingKey(s.Key, msg)
	}
	if err != nil {
		e.inTrouble().undeliverable = err
		return
	}
	e.msg = msg
}

// hasEnded reports whether ctx is over. A socket notices its deadline a moment before the context
// does.
func hasEnded(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// sleep waits for d and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
