// Package subscription is one subscription to one stream:
//
//	reader -> inbox -> lane -> handler -> acker
//	             lease (renews what stays in the inbox)
//
// The reader also claims what others abandoned. Who owns an entry is written at each hand-over; what nobody
// acknowledged is still in the inbox when Close comes to release it.
package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// Config is what a subscription needs; the package redisstream documents and checks the values.
type Config struct {
	Source   Source
	Group    Group                                                                          // nil: nothing is acknowledged to the server
	Progress Progress                                                                       // nil: that of Group
	Recreate func(ctx context.Context, mark stream.Mark) error                              // creates the group again after it vanished; nil: fan-out
	Release  func(ctx context.Context, leases []stream.Lease) (trimmed []string, err error) // at the end; nil: fan-out

	Decode  func(stream.Entry) (*message.Message, error)
	Context func(parent context.Context, id string, deliveries int64) context.Context

	Lanes   int                           // messages in flight
	Key     func(*message.Message) string // one at a time of each key; nil with one lane: strict order
	Backoff func(attempt int) time.Duration

	MaxDeliveries int // 0: no limit
	// DeadLetter moves an entry out of the stream; nil: what can't be decoded is skipped.
	DeadLetter func(ctx context.Context, id string, deliveries int64, reason error) (stream.Fate, error)

	ClaimMinIdle  time.Duration
	ClaimInterval time.Duration
	NeverClaim    bool // look at the pending list, and take nothing from others
	BlockTime     time.Duration
	CloseTimeout  time.Duration
	ShouldClaim   func(redis.XPendingExt) bool

	Chores []Chore

	OwnFirst bool // the name had an earlier life: begin with what is pending for it

	Logger watermill.LoggerAdapter
}

// Subscription delivers the entries of one stream to one output channel.
type Subscription struct {
	*Config
	inbox      *inbox
	checkpoint *checkpoint // nil: fan-out
	reclaimer  *reclaimer  // nil without a group, and with AutoAck
	acker      *acker      // nil without a group, and with AutoAck

	output   chan *message.Message
	messages context.Context //nolint:containedctx // parent of the messages' contexts
	closing  chan struct{}   // closed: no more deliveries
	abandon  chan struct{}   // closed: no more waiting for handlers
	stop     context.CancelFunc
	ended    context.Context //nolint:containedctx // done when the subscription has ended
	end      context.CancelFunc
}

// Start begins a subscription. It ends with ctx or with Close.
func Start(ctx context.Context, config Config) *Subscription {
	s := &Subscription{
		Config:  &config,
		inbox:   newInbox(config.Lanes, config.Lanes == 1 || config.Key != nil),
		output:  make(chan *message.Message),
		closing: make(chan struct{}),
		abandon: make(chan struct{}),
	}
	s.ended, s.end = context.WithCancel(context.Background())
	if config.Progress == nil && config.Group != nil {
		config.Progress = config.Group
	}
	if config.Progress != nil {
		s.checkpoint = newCheckpoint(s.Config)
	}
	if config.Group != nil {
		s.reclaimer = newReclaimer(s.Config, s.inbox, s.checkpoint)
		if config.OwnFirst {
			s.reclaimer.searchOwn(false)
		}
	}
	stopping, stop := context.WithCancel(ctx)
	s.stop = stop
	go s.run(ctx, stopping)
	return s
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

// run owns every goroutine of the subscription and joins them, senders before receivers.
func (s *Subscription) run(ctx, stopping context.Context) {
	defer s.end()
	defer s.stop()
	messages, cancelMessages := context.WithCancel(ctx)
	defer cancelMessages()
	s.messages = messages
	acking, stopAcking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAcking()

	var reader, lanes, leases, chores sync.WaitGroup
	leasing, stopLeases := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLeases()
	if s.Group != nil {
		s.acker = newAcker(acking, s.Config, s.inbox)
		leases.Go(func() { s.keepLeases(leasing) })
	}
	reader.Go(func() { s.read(stopping) })
	for range s.Lanes {
		lanes.Go(s.lane)
	}
	for _, chore := range s.Chores {
		chores.Go(func() { s.keepDoing(stopping, chore) })
	}

	<-stopping.Done()
	// 1. Nothing new comes in or goes out. What the reader got last is in the inbox before it ends.
	s.Source.Interrupt()
	close(s.closing)
	s.inbox.close()
	reader.Wait()
	s.Source.Close()
	// 2. Handlers that are running may finish, their leases kept.
	deadline := time.AfterFunc(s.CloseTimeout, func() {
		close(s.abandon)
		time.AfterFunc(ackGrace, stopAcking)
	})
	lanes.Wait()
	cancelMessages()
	// 3. Every ack that was given is sent.
	if s.acker != nil {
		s.acker.Wait()
	}
	deadline.Stop()
	stopLeases()
	leases.Wait()
	chores.Wait() // a sign of life after the release would bring our consumer back
	// 4. The rest is free for others.
	s.release(ctx)
	// 5. Only now: Watermill's Router takes the closed channel for the sign that it may close the
	// handler's publisher and return from Run.
	close(s.output)
}

// ackGrace is how long acks that handlers gave at the last moment may take.
const ackGrace = time.Second

// releaseTimeout bounds the last call to a server that may be gone: what it does not get, others claim
// after ClaimMinIdle.
const releaseTimeout = 5 * time.Second

func (s *Subscription) release(ctx context.Context) {
	if s.Release == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	trimmed, err := s.Release(ctx, s.inbox.leases())
	if len(trimmed) > 0 {
		s.Logger.Error("entries were trimmed from the stream before they were acknowledged", errTrimmed, trimmedFields(trimmed))
	}
	if err != nil && !stream.IsGroupGone(err) {
		s.Logger.Error("entries could not be released; others claim them after ClaimMinIdle", err, nil)
	}
}
