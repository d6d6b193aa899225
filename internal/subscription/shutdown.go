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

// goroutines are the goroutines of a subscription, by kind.
type goroutines struct{ reader, workers, leases, reports, tasks sync.WaitGroup }

// run owns every goroutine of the subscription: it starts them, and ends them in order.
func (s *Subscription) run(ctx, stopping context.Context) {
	defer s.end()
	defer s.stop()
	// Not in Start: its caller may hold a lock, and the logger is the user's code.
	s.Logger.Info("subscription started", nil)
	background := context.WithoutCancel(ctx)
	upkeep, stopUpkeep := context.WithCancel(background)
	defer stopUpkeep()
	var all goroutines
	all.leases.Go(func() { s.keepUp(upkeep) })
	all.reports.Go(func() { s.keepReporting(upkeep) })
	all.reader.Go(func() { s.read(stopping) })
	for range s.Workers {
		all.workers.Go(newWorker(s).run)
	}
	for _, task := range s.backend.tasks() {
		all.tasks.Go(func() { s.repeat(stopping, task) })
	}

	<-stopping.Done()
	began := time.Now()
	limit, endLimit := context.WithTimeout(background, s.CloseTimeout+closeGrace)
	defer endLimit()
	complete := s.shutDown(limit, &all, stopUpkeep)
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

// shutDown joins the goroutines, senders before receivers, and releases the entries that are left.
// It reports whether it finished before the limit.
func (s *Subscription) shutDown(limit context.Context, all *goroutines, stopUpkeep func()) (joined bool) {
	// 1. Nothing new comes in or goes out.
	s.backend.interrupt()
	close(s.closing)
	s.inbox.close()
	s.barrier.close()
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
	stopUpkeep()
	joined = join(limit, all.leases.Wait) && joined
	// 4. When the reader ends, the inbox has the entries that it read last. A task that ran after
	// the release would create our consumer again, and a report its record.
	joined = join(limit, all.reader.Wait) && joined
	joined = join(limit, s.backend.close) && joined
	joined = join(limit, all.tasks.Wait) && joined
	joined = join(limit, all.reports.Wait) && joined
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
