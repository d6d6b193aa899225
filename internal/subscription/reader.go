package subscription

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// read fills the inbox until it is closed or ctx ends. It is the only goroutine that uses the
// source's connection.
func (s *Subscription) read(ctx context.Context) {
	trouble := outage{what: "reading from the stream", logger: s.Logger}
	for {
		room, open := s.inbox.awaitSpace(s.patience())
		if !open {
			return
		}
		began := time.Now()
		entries, err := s.next(ctx, room)
		s.receive(entries, began)
		switch {
		case hasEnded(ctx):
			return
		case err == nil:
			trouble.over()
		case errors.Is(err, stream.ErrTooLarge): // what it held is claimed now, a few at a time
			_ = s.recover(ctx, err) // nothing is in the way
		default:
			if !sleep(ctx, trouble.failed(s.recover(ctx, err))) {
				return
			}
		}
	}
}

// hasEnded reports whether ctx is over. A socket notices its deadline a moment before the context does.
func hasEnded(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// next returns entries that were abandoned, else new ones; none and no error when there is none. With no
// room it only saves the group's checkpoint.
func (s *Subscription) next(ctx context.Context, room room) ([]stream.Entry, error) {
	if s.reclaimer != nil {
		entries, err := s.reclaimer.next(ctx, room)
		if len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	if s.reclaimer == nil && s.checkpoint != nil && s.checkpoint.untilDue() <= 0 {
		if _, err := s.checkpoint.save(ctx); err != nil {
			return nil, err
		}
	}
	if room.entries == 0 {
		return nil, nil
	}
	return s.Source.Read(ctx, stream.Limit{Count: room.entries, Bytes: room.bytes}, min(s.BlockTime, s.untilTurn()))
}

// untilTurn is how long a read may wait.
func (s *Subscription) untilTurn() time.Duration {
	switch {
	case s.reclaimer != nil:
		return s.reclaimer.untilDue()
	case s.checkpoint != nil:
		return s.checkpoint.untilDue()
	default:
		return s.BlockTime
	}
}

// patience is how long the reader may wait for space.
func (s *Subscription) patience() time.Duration {
	if s.checkpoint == nil {
		return time.Hour
	}
	return s.checkpoint.untilDue()
}

// receive hands entries to the inbox. Each is ours from here on, also when we are closing.
func (s *Subscription) receive(entries []stream.Entry, began time.Time) {
	gap := ""
	if s.reclaimer != nil {
		gap = s.reclaimer.gap()
	}
	if len(entries) == 0 {
		s.inbox.holdBehind(gap)
		return
	}
	if s.reclaimer == nil && s.checkpoint != nil {
		s.checkpoint.read(entries[len(entries)-1].ID)
	}
	a := arrival{entries: make([]entry, len(entries)), began: began, took: s.Source.TransferTime(), gap: gap}
	if entries[0].Claimed {
		a.sort = true
	} else {
		a.sort = s.lastRead != "" && stream.Precedes(entries[0].ID, s.lastRead) // the group began again
		s.lastRead = entries[len(entries)-1].ID
	}
	for i := range a.entries {
		e := &a.entries[i]
		e.Entry, e.size = entries[i], entries[i].Size()
		if s.Key != nil {
			s.line(e)
		}
	}
	s.inbox.add(a)
	if len(entries) == 1 {
		runtime.Gosched() // a trickle: the lane first, the next read can wait
	}
}

// line decodes an entry for its ordering key. One that can't be decoded has none: the lane that
// gets it says so.
func (s *Subscription) line(e *entry) {
	msg, err := s.decode(e.Entry)
	if err == nil {
		e.key, err = s.orderingKey(msg)
	}
	if err != nil {
		e.undeliverable = err
		return
	}
	e.msg = msg
}

// recover prepares the next read after an error: a reply may have been lost, and with it entries
// that are pending for us and that we never saw. It returns what is in the way.
func (s *Subscription) recover(ctx context.Context, err error) error {
	if _, refused := errors.AsType[redis.Error](err); !refused {
		s.inbox.failed() // the reply may have been too large for the link
	}
	if stream.IsGroupGone(err) && s.Recreate != nil {
		if failure := s.checkpoint.recreate(ctx); failure != nil {
			err = fmt.Errorf("%w; creating the consumer group again failed: %w", err, failure)
		}
	}
	s.Source.Reset(ctx)
	if s.reclaimer != nil {
		s.reclaimer.searchOwn(true)
	}
	return err
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
