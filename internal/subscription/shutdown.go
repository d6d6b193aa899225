package subscription

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// closeGrace is how long Close may take beyond CloseTimeout, whatever the server does.
	closeGrace = 900 * time.Millisecond
	// ackGrace is the part of closeGrace for acks that handlers gave at the last moment. The rest
	// is for the release.
	ackGrace = 600 * time.Millisecond
)

var errNotJoined = errors.New("a command was still under way CloseTimeout + 900 ms after the end")

// activities are what runs for a subscription, by kind.
type activities struct {
	reader, workers        sync.WaitGroup
	leases, reports, tasks repeaters

	stopUpkeep context.CancelFunc // of leases and reports
}

// run starts what the subscription needs, and then is its reader. The end of stopping ends all of
// it. An idle subscription has no other goroutine than this one and the workers.
func (s *Subscription) run(ctx, stopping context.Context, all *activities) {
	// Not in Start: its caller may hold a lock, and the logger is the user's code.
	s.Logger.Info("subscription started", nil)
	background := context.WithoutCancel(ctx)
	upkeep, stopUpkeep := context.WithCancel(background)
	all.leases, all.reports, all.tasks, all.stopUpkeep = s.leaseKeepers(), s.reporter(), s.periodicTasks(), stopUpkeep
	all.leases.start(upkeep)
	all.reports.start(upkeep)
	all.tasks.start(stopping)
	for range s.Workers {
		all.workers.Go(newWorker(s).run)
	}
	context.AfterFunc(stopping, func() { s.conclude(background, all) })
	s.read(stopping)
	all.workers.Wait() // after Drain, however long handlers take
	s.stop()
}

// Drain stops deliveries and reads. The subscription ends when the handlers that are running have
// settled their messages, however long that takes. Close ends it within CloseTimeout. It is safe to
// repeat.
func (s *Subscription) Drain() {
	s.quiet.Do(func() {
		s.backend.interrupt()
		close(s.closing)
		s.inbox.close()
		s.barrier.close()
	})
}

// conclude ends the subscription.
func (s *Subscription) conclude(background context.Context, all *activities) {
	defer s.end()
	began := time.Now()
	limit, endLimit := context.WithTimeout(background, s.CloseTimeout+closeGrace)
	defer endLimit()
	complete := s.shutDown(limit, all)
	if !complete {
		s.Logger.Error("the server did not answer in time when the subscription ended; others claim its entries after ClaimMinIdle",
			errNotJoined, nil)
	}
	// Handlers that still run may settle their messages until LateTimeout.
	s.late.report()
	s.Logger.Info("subscription ended", nil)
	if s.Observer != nil {
		s.Observer.ReadAhead(0, 0)
		s.Observer.Closed(time.Since(began), complete)
	}
	s.endLogging()
	s.late.watch(time.Now().Add(s.LateTimeout))
}

// shutDown joins the activities, senders before receivers, and releases the entries that are left.
// It reports whether it finished before the limit.
func (s *Subscription) shutDown(limit context.Context, all *activities) (joined bool) {
	// 1. Nothing new comes in or goes out.
	s.Drain()
	// 2. Handlers that are running may finish; their leases are renewed.
	abandon := time.AfterFunc(s.CloseTimeout, func() {
		close(s.abandon)
		time.AfterFunc(ackGrace, s.backend.stop)
	})
	joined = join(limit, all.workers.Wait)
	// 3. All acks are sent.
	if s.backend.keepsLateMessages() {
		s.cancelMessages()
	}
	joined = join(limit, s.backend.flush) && joined
	abandon.Stop()
	all.stopUpkeep()
	joined = join(limit, all.leases.end) && joined
	// 4. When the reader ends, the inbox has the entries that it read last. A task that ran after
	// the release would create our consumer again, and a report its record.
	joined = join(limit, all.reader.Wait) && joined
	joined = join(limit, s.backend.close) && joined
	joined = join(limit, all.tasks.end) && joined
	joined = join(limit, all.reports.end) && joined
	// 5. Other consumers may claim the rest.
	joined = limit.Err() == nil && join(limit, func() { s.backend.release(limit) }) && joined
	s.backend.stop()
	return joined
}

// join waits for the work, at most until the limit. Work that is left then waits for a server that
// does not answer, and ends with the client's time-outs.
func join(limit context.Context, wait func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	select {
	case <-done:
		return true
	case <-limit.Done():
		return isClosed(done)
	}
}

// finish ends the subscription for its user. The output is closed only now, because Watermill's
// Router then closes the handler's publisher and returns from Run.
func (s *Subscription) finish() {
	s.cancelMessages()
	s.OnEnd()
	if s.Config.Output == nil {
		close(s.output)
	}
}
