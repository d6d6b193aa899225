// Package subscription is one subscription to one stream:
//
//	reader -> inbox -> lane -> handler -> acker
//	             lease (renews what stays in the inbox)
//
// The reader also claims what others abandoned. Who owns an entry is written at each hand-over; what nobody
// acknowledged is still in the inbox when Close comes to release it. What a handler has even then is in late.go.
package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// Config is what a subscription needs; the package redisstream documents and checks the values.
type Config struct {
	Source   Source
	Group    Group    // nil: nothing is acknowledged to the server
	Progress Progress // nil: that of Group
	// Recreate creates the group again after it vanished, and returns where it begins; empty: it was there. nil: fan-out.
	Recreate func(ctx context.Context, mark stream.Checkpoint) (start string, err error)
	// Release frees all that is pending for the consumer but what is to be kept, whose leases it renews; nil: fan-out.
	Release func(ctx context.Context, release stream.Release) (trimmed []string, err error)

	Decode  func(stream.Entry) (*message.Message, error)
	Context func(parent context.Context, id string, deliveries int64) context.Context
	Failure func(ctx context.Context) error // why a handler failed, if it told; nil: it can't

	Lanes   int                           // messages in flight
	Key     func(*message.Message) string // one at a time of each key; nil with one lane: strict order
	Backoff func(attempt int) time.Duration

	MaxDeliveries int // 0: no limit
	// DeadLetter moves an entry out of the stream; nil: what can't be decoded is skipped.
	DeadLetter func(ctx context.Context, letter DeadLetter) (stream.DeadLetterResult, error)

	ClaimMinIdle  time.Duration
	ClaimInterval time.Duration
	NeverClaim    bool // look at the pending list, and take nothing from others
	BlockTime     time.Duration
	CloseTimeout  time.Duration // how long the end of the subscription waits for handlers
	LateTimeout   time.Duration // how long handlers that still run then may settle their messages
	ShouldClaim   func(stream.PendingEntry) bool

	Chores []Chore

	OwnFirst bool // the name had an earlier life: begin with what is pending for it

	OnEnd func() // called before the output is closed; nil: nothing to do

	Logger watermill.LoggerAdapter
}

// DeadLetter is an entry that is given up, and why.
type DeadLetter struct {
	ID         string
	Deliveries int64
	Reason     error
	Failure    error // what its handler returned last; nil: unknown
}

// Subscription delivers the entries of one stream to one output channel.
type Subscription struct {
	*Config
	inbox      *inbox
	checkpoint *checkpoint // nil: fan-out
	reclaimer  *reclaimer  // nil without a group, and with AutoAck
	acker      *acker      // nil without a group, and with AutoAck
	lastRead   string      // the newest entry read; the reader's

	late      *lateHandlers
	callbacks *callbacks
	letters   *sharedOutage // of dead-lettering

	output         chan *message.Message
	messages       context.Context //nolint:containedctx // parent of the messages' contexts
	cancelMessages context.CancelFunc
	closing        chan struct{} // closed: no more deliveries
	abandon        chan struct{} // closed: no more waiting for handlers
	stop           context.CancelFunc
	ended          context.Context //nolint:containedctx // done when the subscription has ended
	end            context.CancelFunc
	endLogging     func()
}

// Start begins a subscription. It ends with ctx or with Close.
func Start(ctx context.Context, config Config) *Subscription {
	logger := newEndingLogger(config.Logger)
	config.Logger = logger
	s := &Subscription{
		Config:    &config,
		inbox:     newInbox(config.Lanes, config.order()),
		output:    make(chan *message.Message),
		closing:   make(chan struct{}),
		abandon:   make(chan struct{}),
		callbacks: &callbacks{logger: config.Logger},
		letters:   &sharedOutage{outage: outage{what: "dead-lettering", logger: config.Logger}},
	}
	s.late = &lateHandlers{Subscription: s, logger: logger.LoggerAdapter}
	s.endLogging = logger.end
	s.ended, s.end = context.WithCancel(context.Background())
	// Handlers may finish after the end of ctx: their messages' contexts have its values only.
	s.messages, s.cancelMessages = context.WithCancel(context.WithoutCancel(ctx))
	if config.Progress == nil && config.Group != nil {
		config.Progress = config.Group
	}
	if config.Progress != nil {
		s.checkpoint = newCheckpoint(s.Config)
	}
	if config.Group != nil {
		s.reclaimer = newReclaimer(s.Config, s.inbox, s.checkpoint, s.callbacks)
		if config.OwnFirst {
			s.reclaimer.searchOwn(false)
		}
	}
	stopping, stop := context.WithCancel(ctx)
	s.stop = stop
	config.Logger.Info("subscription started", nil)
	go s.run(ctx, stopping)
	return s
}

func (c *Config) order() order {
	switch {
	case c.Lanes == 1:
		return strict
	case c.Key != nil:
		return byKey
	default:
		return unordered
	}
}

// Output is where the messages come; it is closed when the subscription ends.
func (s *Subscription) Output() <-chan *message.Message { return s.output }

// Close ends the subscription and returns when every goroutine has ended. Safe to repeat.
func (s *Subscription) Close() {
	s.stop()
	<-s.ended.Done()
}

// Ended is done when every goroutine of the subscription has ended.
func (s *Subscription) Ended() context.Context { return s.ended }

const (
	// closeGrace is how long the end of a subscription may take beyond CloseTimeout, whatever the server does.
	closeGrace = 900 * time.Millisecond
	// ackGrace is how long of that acks may take that handlers gave at the last moment. The rest is for the release.
	ackGrace = 600 * time.Millisecond
)

// run owns every goroutine of the subscription and joins them, senders before receivers.
func (s *Subscription) run(ctx, stopping context.Context) {
	defer s.end()
	defer s.stop()
	background := context.WithoutCancel(ctx)
	acking, stopAcking := context.WithCancel(background)
	defer stopAcking()
	upkeep, stopUpkeep := context.WithCancel(background)
	defer stopUpkeep()
	if s.Group != nil {
		s.acker = newAcker(acking, s.Config, s.inbox)
	}
	var reader, lanes, leases, chores sync.WaitGroup
	leases.Go(func() { s.keepLeases(upkeep) })
	reader.Go(func() { s.read(stopping) })
	for range s.Lanes {
		lanes.Go(s.newLane().run)
	}
	for _, chore := range s.Chores {
		chores.Go(func() { s.keepDoing(stopping, chore) })
	}

	<-stopping.Done()
	limit, endLimit := context.WithTimeout(background, s.CloseTimeout+closeGrace)
	defer endLimit()
	// 1. Nothing new comes in or goes out.
	s.Source.Interrupt()
	close(s.closing)
	s.inbox.close()
	// 2. Handlers that are running may finish, their leases kept.
	abandon := time.AfterFunc(s.CloseTimeout, func() {
		close(s.abandon)
		time.AfterFunc(ackGrace, stopAcking)
	})
	joined := join(limit, &lanes)
	// 3. Every ack that was given is sent.
	if s.Group != nil {
		s.cancelMessages()
		joined = joinFunc(limit, s.acker.Wait) && joined
	}
	abandon.Stop()
	stopUpkeep()
	joined = join(limit, &leases) && joined
	// 4. What the reader got last is in the inbox when it ends. A chore after the release would bring our consumer back.
	joined = join(limit, &reader) && joined
	s.Source.Close()
	joined = join(limit, &chores) && joined
	// 5. The rest is free for others.
	joined = limit.Err() == nil && joinFunc(limit, func() { s.release(limit) }) && joined
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

// join waits until the goroutines of a group have ended, or the limit. What is left then waits for a server that does not
// answer, and ends with the time-outs of the client.
func join(limit context.Context, group *sync.WaitGroup) bool { return joinFunc(limit, group.Wait) }

func joinFunc(limit context.Context, wait func()) bool {
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

// release frees what nobody here works on, and renews the leases of what late handlers have.
func (s *Subscription) release(ctx context.Context) {
	if s.Release == nil {
		return
	}
	leases, keep := s.inbox.leases()
	trimmed, err := s.Release(ctx, stream.Release{
		Leases: leases, Keep: keep, TakeBack: s.reclaimer == nil || s.reclaimer.knowsOwn.Load(),
	})
	if len(trimmed) > 0 {
		s.Logger.Error("entries were trimmed from the stream before they were acknowledged", errTrimmed, someOf(trimmed))
	}
	if err != nil && !stream.IsGroupGone(err) {
		s.Logger.Error("entries could not be released; others claim them after ClaimMinIdle", err, nil)
	}
}

// finish ends the subscription for its user. Only now the output is closed: Watermill's Router takes that for the sign that it
// may close the handler's publisher and return from Run.
func (s *Subscription) finish() {
	s.cancelMessages()
	if s.OnEnd != nil {
		s.OnEnd()
	}
	close(s.output)
}
