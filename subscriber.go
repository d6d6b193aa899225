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
	subscribe := s.subscribe
	if s.config.Exclusive {
		subscribe = s.subscribeExclusive
	}
	return subscribe(ctx, topic)
}

func (s *Subscriber) subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	consumer, release := s.consumer(topic)
	config, observer := s.subscription(topic, Entry{Consumer: consumer})
	var err error
	if config.Backend, err = s.join(ctx, topic, consumer, config.Logger, observer); err != nil {
		release()
		return nil, fmt.Errorf("subscribe to %q: %w", topic, explainWrongType(ctx, s.config.Client, topic, stream.Redact(err)))
	}
	config.OnEnd = release
	output, err := s.start(topic, func(paused bool) running {
		config.Paused = paused
		return subscription.Start(ctx, config)
	})
	if err != nil {
		release()
	}
	return output, err
}

// start starts a subscription, unless the Subscriber was closed meanwhile.
func (s *Subscriber) start(topic string, start func(paused bool) running) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrSubscriberClosed
	}
	sub := start(s.paused.has(topic))
	s.subscriptions[sub] = topic
	context.AfterFunc(sub.Ended(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscriptions, sub)
	})
	return sub.Output(), nil
}

// SubscribeInitialize creates the consumer group of the stream named topic, and the stream, if they
// are missing (XGROUP CREATE MKSTREAM). Later subscriptions then get what is published from now on,
// also with StartID "$". A fan-out has nothing to initialize. After Close it returns
// ErrSubscriberClosed.
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
	err := stream.CreateGroup(context.Background(), s.config.Client, topic, s.config.ConsumerGroup, s.config.StartID)
	if err != nil {
		err = explainWrongType(context.Background(), s.config.Client, topic, stream.Redact(err))
		return fmt.Errorf("initialize %q: create group %q: %w", topic, s.config.ConsumerGroup, err)
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
// none. The entry has what it knows of its consumer.
func (s *Subscriber) subscription(topic string, consumer Entry) (subscription.Config, *subscriptionObserver) {
	c := s.config
	config := subscription.Config{
		Decode: s.decoder(topic), Context: c.messageContext(topic, consumer), Decision: decisionOf,
		Workers: c.MaxInFlight, Key: c.OrderingKey, Backoff: c.backoff(topic),
		BlockTime: c.BlockTime, CloseTimeout: max(c.CloseTimeout, 0),
		Logger: s.loggerOf(topic).With(watermill.LogFields{"consumer": consumer.Consumer}),
	}
	observer := c.newSubscriptionObserver(topic, consumer.Consumer, config.Logger)
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
func (c SubscriberConfig) messageContext(topic string, consumer Entry) func(subscription.Delivery, string, int64) context.Context {
	common := &delivered{Entry: Entry{Stream: topic}, client: c.Client}
	if c.ConsumerGroup != "" {
		common.Group, common.Consumer, common.Generation = c.ConsumerGroup, consumer.Consumer, consumer.Generation
	}
	return func(parent subscription.Delivery, id string, deliveries int64) context.Context {
		return &entryContext{Context: parent, common: common, id: id, deliveries: deliveries}
	}
}
