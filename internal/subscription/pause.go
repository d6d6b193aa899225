package subscription

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

const (
	// pauseLook is how often a subscription looks whether its group is paused. If ClaimInterval is
	// not longer, the look is part of the look at the group's state. A look of its own follows only
	// if there was none, after pauseGrace.
	pauseLook  = 1500 * time.Millisecond
	pauseGrace = 250 * time.Millisecond
	// pausedLook is how often it looks while the group is paused.
	pausedLook = time.Second
)

// pausing is what the delivery modes do differently while the subscription is paused. The reader's
// goroutine uses it.
type pausing interface {
	// handBack releases the entries that no handler has.
	handBack(ctx context.Context) error
	// watchPause looks whether the group is still paused, and saves the checkpoint, so that it is
	// recent if the group has to be recreated. It is called each untilLook.
	watchPause(ctx context.Context) error
	untilLook() time.Duration
	// resume prepares the first read after the pause.
	resume()
}

// pauses has the reasons for a pause. Its lock is held until the inbox and the barrier have changed
// too.
type pauses struct {
	mu           sync.Mutex
	local, group bool
}

// SetPaused pauses the subscription, or ends that pause. From its return on a paused subscription
// delivers nothing. The reader releases the entries that no handler has. A pause of the group is
// independent of it.
func (s *Subscription) SetPaused(paused bool) {
	s.setPauses(func(p *pauses) { p.local = paused })
}

func (s *Subscription) setGroupPaused(paused bool) {
	s.setPauses(func(p *pauses) { p.group = paused })
}

func (s *Subscription) setPauses(change func(*pauses)) {
	s.pauses.mu.Lock()
	defer s.pauses.mu.Unlock()
	change(&s.pauses)
	if s.pauses.local || s.pauses.group {
		s.inbox.setPaused(true)
		s.barrier.pause()
		return
	}
	s.barrier.resume()
	s.inbox.setPaused(false)
}

// pausedBy returns which pauses there are.
func (s *Subscription) pausedBy() (local, group bool) {
	s.pauses.mu.Lock()
	defer s.pauses.mu.Unlock()
	return s.pauses.local, s.pauses.group
}

// standStill is the reader's work during a pause: it releases the entries that no handler has, and
// those that workers give back. It reports whether reading goes on; otherwise the subscription
// ends.
func (s *Subscription) standStill(ctx context.Context) bool {
	began := time.Now()
	_, group := s.pausedBy()
	s.Logger.Info("the subscription is paused; running handlers may finish", watermill.LogFields{"whole_group": group})
	trouble := outage.Outage{What: "looking for the end of a pause", Logger: s.Logger}
	releasing := outage.Outage{What: "releasing entries for a pause", Logger: s.Logger}
	for {
		wait := s.backend.untilLook()
		if err := s.backend.handBack(ctx); err == nil {
			releasing.Over()
		} else if !hasEnded(ctx) {
			wait = min(wait, releasing.Failed(err))
		}
		if hasEnded(ctx) {
			return false
		}
		if wait <= 0 {
			if err := s.backend.watchPause(ctx); err == nil {
				trouble.Over()
				wait = s.backend.untilLook()
			} else if !hasEnded(ctx) {
				wait = trouble.Failed(s.recover(ctx, err))
			}
		}
		paused, open := s.inbox.awaitUnheld(wait)
		if !open || hasEnded(ctx) {
			return false
		}
		if !paused {
			break
		}
	}
	s.backend.resume()
	s.Logger.Info("the subscription goes on after a pause", watermill.LogFields{"after": time.Since(began).Round(time.Millisecond).String()})
	return true
}

// pauseWatch looks whether the group is paused. The reader's goroutine uses it.
type pauseWatch struct {
	look   func(context.Context) (bool, error)
	set    func(paused bool)
	every  time.Duration // 0: never
	due    time.Time
	paused bool
}

func newPauseWatch(s *Subscription, m Membership) *pauseWatch {
	p := &pauseWatch{look: m.Stream.IsPaused, set: s.setGroupPaused}
	switch {
	case !m.CanBePaused:
	case m.ClaimInterval > pauseLook:
		p.every = pauseLook
	default:
		p.every = pauseLook + pauseGrace
	}
	p.saw(false)
	return p
}

// saw records the server's answer.
func (p *pauseWatch) saw(paused bool) {
	every := p.every
	if paused {
		every = pausedLook
	}
	p.due = time.Now().Add(every)
	if paused != p.paused {
		p.paused = paused
		p.set(paused)
	}
}

// untilDue is the time until the next look. It bounds a blocking read also if the group can't be
// paused: the reader releases entries for a local pause when its read is over.
func (p *pauseWatch) untilDue() time.Duration {
	if p.every == 0 {
		return pauseLook
	}
	return time.Until(p.due)
}

// check looks whether the group is paused, if a look is due.
func (p *pauseWatch) check(ctx context.Context) error {
	if p.untilDue() > 0 {
		return nil
	}
	paused, err := p.look(ctx)
	if err == nil {
		p.saw(paused)
	}
	return err
}

// handBack releases all entries of this consumer that no handler has, also those that only the
// server knows of. Entries whose handlers asked for a wait go to the retry queue.
func (g *group) handBack(ctx context.Context) error {
	if !g.inbox.withdraw(!g.allReleased) {
		return nil
	}
	var waiting []stream.Postponement
	g.inbox.leases(func(table *leaseTable) { waiting = table.waiting(releasing) })
	if err := g.postponeForPause(ctx, waiting); err != nil {
		return err
	}
	var release stream.Release
	g.inbox.leases(func(table *leaseTable) { release.Leases, release.Keep = table.atPause() })
	release.TakeBack = g.recovery.knowsOwn.Load()
	if err := g.sendRelease(ctx, release); err != nil {
		return err
	}
	g.allReleased = true
	g.inbox.released()
	return nil
}

// postponeForPause puts entries into the retry queue. If the server refuses that, they are released
// with the others.
func (g *group) postponeForPause(ctx context.Context, entries []stream.Postponement) error {
	parked, err := g.sendPostponements(ctx, entries)
	if parked > 0 && g.observer != nil {
		g.observer.Parked(parked)
	}
	if _, refused := errors.AsType[redis.Error](err); refused {
		g.reportNotPostponed(err, len(entries)-parked)
		return nil
	}
	return err
}

func (g *group) watchPause(ctx context.Context) error {
	_, err := g.checkpoint.update(ctx)
	return err
}

// resume makes the scan of the pending entries run before the next read, so that released entries
// are delivered before newer ones. An entry whose release is uncertain is still in the inbox.
func (g *group) resume() {
	g.recovery.restart(g.allReleased)
	g.allReleased = false
	g.inbox.putBack(g.gap())
}

// restart makes a scan of the pending entries begin at once, at their start. Entries that no
// handler had are delivered after that scan. After a release all our entries without a handler are
// released, so a search for lost replies ends.
func (r *recovery) restart(released bool) {
	r.scanCursor, r.scanFound, r.scanDue = "-", true, time.Now()
	r.ownFound = false
	switch {
	case released:
		r.ownCursor = ""
		r.knowsOwn.Store(true)
	case r.ownCursor != "":
		r.ownCursor = "-"
	}
}
