package redisstream

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// Subscriber subscribes to streams, with or without a consumer group. It is safe for concurrent
// use.
type Subscriber struct {
	config SubscriberConfig
	logger watermill.LoggerAdapter

	pausing       sync.Mutex // held during Pause and Resume, before mu
	mu            sync.Mutex
	closed        bool
	subscriptions map[running]string // their topics
	paused        pausedTopics
	names         map[consumerName]struct{} // fixed names in use
	leaveReads    func()                    // stops sharing connections
}

// running is a subscription that was started.
type running interface {
	Output() <-chan *message.Message
	SetPaused(paused bool)
	Close()
	// Ended is done when every goroutine of it has ended.
	Ended() context.Context
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber returns a Subscriber. A nil logger logs nothing. Errors wrap ErrInvalidConfig and
// name the field; the server is not asked anything yet.
func NewSubscriber(config SubscriberConfig, logger watermill.LoggerAdapter) (*Subscriber, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	s := &Subscriber{
		config:        config,
		logger:        redact(logger),
		subscriptions: make(map[running]string),
		names:         make(map[consumerName]struct{}),
	}
	s.leaveReads = readConnections.join(config, s.logger)
	return s, nil
}

// Subscribe delivers the stream named topic to the returned channel, until ctx ends or Close is
// called. It creates the consumer group if it is missing (XGROUP CREATE). Messages that are
// published after Subscribe returned are delivered. If the client's user lacks an ACL right that
// any part of the subscription needs, the error names the right.
//
// A message's context carries its Entry and the values of ctx. It is cancelled after Ack and Nack,
// when another consumer takes the entry over, and CloseTimeout after the end of ctx or Close. The
// end of ctx alone does not cancel it: handlers may finish, and their acks and nacks count.
//
// An ack after CloseTimeout still counts for ClaimMinIdle. The channel is closed when no handler
// has a message, or when that time is over.
//
// After Close it returns ErrSubscriberClosed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if s.isClosed() {
		return nil, ErrSubscriberClosed
	}
	if topic == "" {
		return nil, fmt.Errorf("subscribe to %q: %w", topic, errEmptyTopic)
	}
	ready, err := s.prepare(ctx, topic)
	if err != nil {
		err = explainWrongType(ctx, s.config.Client, topic, stream.Redact(err))
		return nil, fmt.Errorf("subscribe to %q: %w", topic, err)
	}
	return s.start(topic, ready)
}

// prepared is a subscription that is ready to start.
type prepared struct {
	start   func(paused bool) running
	discard func() // called instead of start
}

// prepare makes a subscription ready. Messages that are published from now on are delivered.
func (s *Subscriber) prepare(ctx context.Context, topic string) (prepared, error) {
	switch c := s.config; {
	case c.Partitions > 0 && c.ConsumerGroup == "":
		return s.preparePartitionsFanout(ctx, topic)
	case c.Partitions > 0:
		return s.preparePartitions(ctx, topic)
	case c.Exclusive:
		return s.prepareExclusive(ctx, topic)
	default:
		return s.prepareShared(ctx, topic)
	}
}

// prepareShared prepares a member of a group that share the entries, or a fan-out.
func (s *Subscriber) prepareShared(ctx context.Context, topic string) (ready prepared, err error) {
	consumer, release := s.consumer(topic)
	config, observer := s.subscription(topic, Entry{Stream: topic, Consumer: consumer})
	if config.Backend, err = s.join(ctx, topic, consumer, config.Logger, observer); err != nil {
		release()
		return ready, err
	}
	config.OnEnd = release
	ready.start = func(paused bool) running {
		config.Paused = paused
		return subscription.Start(ctx, config)
	}
	ready.discard = release
	return ready, nil
}

// start starts a subscription, unless the Subscriber was closed meanwhile.
func (s *Subscriber) start(topic string, ready prepared) (<-chan *message.Message, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ready.discard()
		return nil, ErrSubscriberClosed
	}
	defer s.mu.Unlock()
	sub := ready.start(s.paused.has(topic))
	s.subscriptions[sub] = topic
	context.AfterFunc(sub.Ended(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscriptions, sub)
	})
	return sub.Output(), nil
}

// SubscribeInitialize creates the consumer group of the stream named topic, and the stream, if they
// are missing (XGROUP CREATE MKSTREAM); with Partitions those of each partition. Later subscriptions
// then get what is published from now on, also with StartID "$". A fan-out has nothing to initialize.
// After Close it returns ErrSubscriberClosed.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	if s.isClosed() {
		return ErrSubscriberClosed
	}
	if topic == "" {
		return errEmptyTopic
	}
	if s.config.ConsumerGroup == "" {
		return nil
	}
	ctx := context.Background()
	initialize := s.createGroup
	if s.config.Partitions > 0 {
		initialize = s.createGroups
	}
	if err := initialize(ctx, topic); err != nil {
		return fmt.Errorf("initialize %q: %w", topic, explainWrongType(ctx, s.config.Client, topic, stream.Redact(err)))
	}
	return nil
}

// createGroup creates the group of a stream, if it is missing.
func (s *Subscriber) createGroup(ctx context.Context, name string) error {
	c := s.config
	if err := stream.CreateGroup(ctx, c.Client, name, c.ConsumerGroup, c.StartID); err != nil {
		return fmt.Errorf("create group %q: %w", c.ConsumerGroup, err)
	}
	return nil
}

// Close ends all subscriptions. Nothing more is delivered. Running handlers have CloseTimeout to
// ack, and every ack is sent. Messages that no handler has are released: other consumers may claim
// them at once. A message that a handler still has then keeps its lease for ClaimMinIdle: an ack in
// that time counts, and no other consumer starts the message. Close of a fan-out does not wait for
// handlers.
//
// Close returns within CloseTimeout and one second, whatever the server does. Every goroutine has
// ended then, unless the server does not answer: commands in flight end with the client's
// time-outs. The client stays open. Close is safe to repeat, and always returns nil.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	var all sync.WaitGroup
	for sub := range s.subscriptions {
		all.Go(sub.Close)
	}
	s.mu.Unlock()
	all.Wait()
	s.leaveReads()
	return nil
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// decoder returns what makes messages of the topic's entries.
func (s *Subscriber) decoder(topic string) func(stream.Entry) (*message.Message, error) {
	u := s.config.Unmarshaler
	if isDeadLetterTopic(topic) {
		return func(e stream.Entry) (*message.Message, error) { return unmarshalDeadLetter(u, e.ID, e.Fields) }
	}
	return func(e stream.Entry) (*message.Message, error) { return unmarshalEntry(u, e.ID, e.Fields) }
}

// subscription returns the configuration of a subscription without its backend, and its observer; nil:
// none. The entry has what it knows of its stream and consumer.
func (s *Subscriber) subscription(topic string, about Entry) (subscription.Config, *subscriptionObserver) {
	c := s.config
	logger := s.loggerOf(topic).With(watermill.LogFields{"consumer": about.Consumer})
	observed := Subscription{Topic: topic}
	if _, partition, _, ok := ParsePartitionTopic(about.Stream); ok && about.Stream != topic {
		logger = logger.With(watermill.LogFields{"partition": partition})
		observed.Stream = about.Stream
	}
	if about.Group = c.ConsumerGroup; about.Group == "" {
		about.Consumer = "" // a fan-out is no consumer
	}
	config := subscription.Config{
		Decode: s.decoder(about.Stream), Context: c.messageContext(about), Decision: decisionOf,
		Workers: c.MaxInFlight, Key: c.OrderingKey, Backoff: c.backoff(about.Stream),
		BlockTime: c.BlockTime, CloseTimeout: max(c.CloseTimeout, 0),
		Logger: logger,
	}
	observed.Group, observed.Consumer = about.Group, about.Consumer
	observer := c.newSubscriptionObserver(observed, logger)
	if observer != nil {
		config.Observer = observer
	}
	switch {
	case c.ConsumerGroup == "": // there is no lease to keep: the end does not wait for handlers, but lets them finish
		config.CloseTimeout, config.LateTimeout = 0, config.CloseTimeout
	case c.CloseTimeout >= 0:
		config.LateTimeout = c.ClaimMinIdle
	}
	return config, observer
}

func (s *Subscriber) loggerOf(topic string) watermill.LoggerAdapter {
	return s.logger.With(watermill.LogFields{"topic": topic, "consumer_group": s.config.ConsumerGroup})
}

// messageContext returns what makes the context of a message.
func (c SubscriberConfig) messageContext(about Entry) func(subscription.Delivery, string, int64) context.Context {
	common := &delivered{Entry: about, client: c.Client}
	return func(parent subscription.Delivery, id string, deliveries int64) context.Context {
		return &entryContext{Context: parent, common: common, id: id, deliveries: deliveries}
	}
}
