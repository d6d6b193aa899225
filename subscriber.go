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

// Subscriber subscribes to streams. It is safe for concurrent use.
type Subscriber struct {
	config SubscriberConfig
	logger watermill.LoggerAdapter

	mu            sync.Mutex
	closed        bool
	starting      sync.WaitGroup
	subscriptions map[*subscription.Subscription]struct{}
	names         map[consumerName]struct{} // fixed names in use
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
	return &Subscriber{
		config:        config,
		logger:        discreet(logger),
		subscriptions: make(map[*subscription.Subscription]struct{}),
		names:         make(map[consumerName]struct{}),
	}, nil
}

// Subscribe delivers the stream named topic to the returned channel until ctx ends or Close is
// called; then the channel is closed. The group is created if it is missing, and what is
// published after Subscribe returned is seen. If the client's user lacks a right that is needed sooner or later,
// the error names it.
//
// A message's context carries its Entry and the values of ctx. It is cancelled after Ack and Nack, when another
// consumer took the entry over, when ctx ends, and when CloseTimeout is over. Ack and Nack count also after ctx
// ended, for as long as CloseTimeout.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.starting.Done()

	consumer, release := s.consumer(topic)
	config, err := s.connect(ctx, topic, consumer)
	if err != nil {
		release()
		return nil, fmt.Errorf("subscribe to %q: %w", topic, stream.Discreet(err))
	}
	sub := subscription.Start(ctx, config)
	s.mu.Lock()
	s.subscriptions[sub] = struct{}{}
	s.mu.Unlock()
	context.AfterFunc(sub.Ended(), func() {
		release()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscriptions, sub)
	})
	return sub.Output(), nil
}

// SubscribeInitialize creates the consumer group of the stream named topic, and the stream, if
// they are missing: with the default StartID, what is published from now on is not missed by later
// subscriptions. A fan-out has nothing to initialize.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.starting.Done()
	if topic == "" {
		return errEmptyTopic
	}
	if s.config.ConsumerGroup == "" {
		return nil
	}
	err := stream.CreateGroup(context.Background(), s.config.Client, topic, s.config.ConsumerGroup, s.config.StartID)
	if err != nil {
		return fmt.Errorf("initialize %q: create group %q: %w", topic, s.config.ConsumerGroup, stream.Discreet(err))
	}
	return nil
}

// Close ends all subscriptions: nothing more is delivered, handlers that are running get CloseTimeout to
// ack, every ack that was given is sent, and what was not acknowledged is at once free for other
// consumers. It returns when every goroutine has ended. The client stays open. Safe to repeat; it always returns nil.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.starting.Wait()

	s.mu.Lock()
	var all sync.WaitGroup
	for sub := range s.subscriptions {
		all.Go(sub.Close)
	}
	s.mu.Unlock()
	all.Wait()
	return nil
}

// begin admits a call unless the Subscriber is closed; the caller ends it with starting.Done.
func (s *Subscriber) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSubscriberClosed
	}
	s.starting.Add(1)
	return nil
}

// decoder returns what makes messages of the topic's entries.
func (s *Subscriber) decoder(topic string) func(stream.Entry) (*message.Message, error) {
	u := s.config.Unmarshaler
	if isDeadLetterTopic(topic) {
		return func(e stream.Entry) (*message.Message, error) { return unmarshalDeadLetter(u, e.ID, e.Fields) }
	}
	return func(e stream.Entry) (*message.Message, error) { return u.Unmarshal(e.ID, e.Fields) }
}

// connect makes the stream ready to be read and returns the configuration of a subscription to it.
func (s *Subscriber) connect(ctx context.Context, topic, consumer string) (subscription.Config, error) {
	c := s.config
	entry := Entry{Stream: topic}
	config := subscription.Config{
		Decode: s.decoder(topic),
		Context: func(parent context.Context, id string, deliveries int64) context.Context {
			ctx := &entryContext{Context: parent, entry: entry}
			ctx.entry.ID, ctx.entry.Deliveries = id, deliveries
			return ctx
		},
		Lanes: c.MaxInFlight, Key: c.OrderingKey, Backoff: c.NackBackoff, MaxDeliveries: c.MaxDeliveries,
		ClaimMinIdle: c.ClaimMinIdle, ClaimInterval: c.ClaimInterval, NeverClaim: c.ClaimInterval < 0, ShouldClaim: c.ShouldClaim,
		BlockTime: c.BlockTime, CloseTimeout: max(c.CloseTimeout, 0),
		Logger: s.logger.With(watermill.LogFields{"topic": topic, "consumer_group": c.ConsumerGroup, "consumer": consumer}),
	}
	if config.NeverClaim {
		config.ClaimInterval = DefaultClaimInterval
	}
	if topic == "" {
		return config, errEmptyTopic
	}
	if c.ConsumerGroup == "" {
		fanout, err := s.fanout(ctx, topic, config.Logger)
		config.Source = fanout
		return config, err
	}
	entry.Group, entry.Consumer = c.ConsumerGroup, consumer
	group := stream.NewGroup(c.Client, topic, c.ConsumerGroup, consumer)
	group.NoAck = c.AutoAck
	needs := stream.Needs{Removed: c.Consumer == "", RemovesOthers: c.ConsumerTimeout > 0, Trims: c.TrimInterval > 0}
	config.Source, config.Progress = group, group
	config.Recreate = func(ctx context.Context, mark stream.Mark) error {
		if mark.ID == "" {
			return group.Join(ctx, c.StartID)
		}
		return group.Recreate(ctx, mark)
	}
	config.Release = func(ctx context.Context, leases []stream.Lease) ([]string, error) {
		return group.Release(ctx, leases, needs.Removed)
	}
	config.Chores = c.chores(group)
	if !c.AutoAck {
		config.Group = group
		if !isDeadLetterTopic(topic) {
			needs.DeadLetters = DeadLetterTopic(topic)
			config.DeadLetter = deadLetterer(group, entry)
		}
		config.OwnFirst = c.Consumer != ""
	}
	if err := group.CheckRights(ctx, needs); err != nil {
		return config, err
	}
	if err := group.Join(ctx, c.StartID); err != nil {
		return config, fmt.Errorf("join group %q: %w", c.ConsumerGroup, err)
	}
	return config, nil
}
