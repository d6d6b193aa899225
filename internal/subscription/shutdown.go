package subscription

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// closeGrace is how long the end of a subscription may take beyond CloseTimeout, whatever the server does.
	closeGrace = 900 * time.Millisecond
	// ackGrace is how much of that acks may take which handlers gave at the last moment. The release has the rest.
	ackGrace = 600 * time.Millisecond
)

var errNotJoined = errors.New("a command was still under way CloseTimeout + 900 ms after the end")

// run owns every goroutine of the subscription and joins them, senders before receivers.
func (s *Subscription) run(ctx, stopping context.Context) {
	defer s.end()
	defer s.stop()
	background := context.WithoutCancel(ctx)
	upkeep, stopUpkeep := context.WithCancel(background)
	defer stopUpkeep()
	var reader, workers, leases, tasks sync.WaitGroup
	leases.Go(func() { s.keepUp(upkeep) })
	reader.Go(func() { s.read(stopping) })
	for range s.Workers {
		workers.Go(newWorker(s).run)
	}
	for _, task := range s.backend.tasks() {
		tasks.Go(func() { s.repeat(stopping, task) })
	}

	<-stopping.Done()
	limit, endLimit := context.WithTimeout(background, s.CloseTimeout+closeGrace)
	defer endLimit()
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
	joined := join(limit, workers.Wait)
	// 3. Every ack that was given is sent.
	if s.backend.keepsLateMessages() {
		s.cancelMessages()
	}
	joined = join(limit, s.backend.flush) && joined
	abandon.Stop()
	stopUpkeep()
	joined = join(limit, leases.Wait) && joined
	// 4. The inbox has what the reader got last when the reader ends. A task that ran after the release
	// would create our consumer again.
	joined = join(limit, reader.Wait) && joined
	s.backend.close()
	joined = join(limit, tasks.Wait) && joined
	// 5. Others may take the rest.
	joined = limit.Err() == nil && join(limit, func() { s.backend.release(limit) }) && joined
	s.backend.stop()
	if !joined {
		s.Logger.Error("the server did not answer in time when the subscription ended; others claim its entries after ClaimMinIdle",
			errNotJoined, nil)
	}
	// 6. Handlers that still run may settle their messages for a while.
	s.late.report()
	s.Logger.Info("subscription ended", nil)
	s.endLogging()
	s.late.watch(time.Now().Add(s.LateTimeout))
}

// join waits until the work is done, or for the limit. What is left then waits for a server that does not
// answer, and ends with the client's time-outs.
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

// finish ends the subscription for its user. The output is closed only now: Watermill's Router then closes
// the handler's publisher and returns from Run.
func (s *Subscription) finish() {
	s.cancelMessages()
	s.OnEnd()
	close(s.output)
}
