package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// Config is what a subscription needs. The package redisstream documents and checks the values.
type Config struct {
	Backend Backend // the delivery mode

	Decode func(stream.Entry) (*message.Message, error)
	// Context returns the context of a message, Decision what its handler recorded in it.
	Context  func(parent Delivery, id string, deliveries int64) context.Context
	Decision func(ctx context.Context) Decision

	Workers int                           // messages in flight; 1: strict order
	Key     func(*message.Message) string // one message of each key in flight; nil: no order
	Backoff func(attempt int) time.Duration

	BlockTime    time.Duration
	CloseTimeout time.Duration // how long Close waits for handlers
	LateTimeout  time.Duration // how long late handlers may still settle their messages

	Paused bool // it starts paused

	// Output is the channel of the messages, which its owner closes after OnEnd; nil: one of its
	// own, which the end of the subscription closes.
	Output chan *message.Message
	OnEnd  func() // called when nothing is sent to the output any more

	Observer Observer // nil: none

	Logger watermill.LoggerAdapter
}

// Subscription delivers the entries of one stream to one output channel.
type Subscription struct {
	*Config

	backend   backend
	inbox     *inbox
	barrier   *sendBarrier
	pauses    pauses
	late      *lateHandlers
	callbacks *callbacks
	lastRead  string // the newest entry read; used by the reader only

	output         chan *message.Message
	messages       context.Context //nolint:containedctx // parent of the messages' contexts
	cancelMessages context.CancelFunc
	quiet          sync.Once
	closing        chan struct{} // closed: nothing more is delivered
	abandon        chan struct{} // closed: workers stop waiting for handlers
	stop           context.CancelFunc
	ended          context.Context //nolint:containedctx // done when the subscription has ended
	end            context.CancelFunc
	endLogging     func()
}

// Start starts a subscription. It ends with ctx or with Close.
func Start(ctx context.Context, config Config) *Subscription {
	logger := newEndingLogger(config.Logger)
	config.Logger = logger
	s := &Subscription{
		Config:     &config,
		inbox:      newInbox(config.Workers, config.order()),
		barrier:    newSendBarrier(),
		callbacks:  &callbacks{logger: config.Logger},
		output:     config.Output,
		closing:    make(chan struct{}),
		abandon:    make(chan struct{}),
		endLogging: logger.end,
	}
	if s.output == nil {
		s.output = make(chan *message.Message)
	}
	s.late = &lateHandlers{Subscription: s, logger: logger.LoggerAdapter}
	s.ended, s.end = context.WithCancel(context.Background())
	// Handlers may finish after the end of ctx: their messages' contexts have only its values.
	s.messages, s.cancelMessages = context.WithCancel(context.WithoutCancel(ctx))
	s.backend = config.Backend.attach(s)
	s.SetPaused(config.Paused)
	stopping, stop := context.WithCancel(ctx)
	s.stop = stop
	all := new(activities)
	all.reader.Go(func() { s.run(ctx, stopping, all) })
	return s
}

func (c *Config) order() order {
	switch {
	case c.Workers == 1:
		return strict
	case c.Key != nil:
		return byKey
	default:
		return unordered
	}
}

// Output returns the channel of the messages.
func (s *Subscription) Output() <-chan *message.Message { return s.output }

// Close ends the subscription and returns when every goroutine has ended. It is safe to repeat.
func (s *Subscription) Close() {
	s.stop()
	<-s.ended.Done()
}

// Ended is done when every goroutine of the subscription has ended.
func (s *Subscription) Ended() context.Context { return s.ended }
