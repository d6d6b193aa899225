package redisstream

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// subscribeExclusive starts a subscription that stands by until it is the active one of its group.
func (s *Subscriber) subscribeExclusive(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.prepareExclusive(ctx, topic); err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", topic, stream.Redact(err))
	}
	return s.start(topic, func(paused bool) running {
		return subscription.StartExclusive(ctx, subscription.ExclusiveConfig{
			Candidate: func() subscription.Candidate { return s.candidate(topic) },
			Lease:     s.config.ClaimMinIdle,
			Paused:    paused,
			Logger:    s.loggerOf(topic),
		})
	})
}

// prepareExclusive creates the group, and fails if the active consumer would lack a right. The
// consumer joins the group when it is the active one.
func (s *Subscriber) prepareExclusive(ctx context.Context, topic string) error {
	c := s.config
	group := stream.NewGroup(c.Client, topic, c.ConsumerGroup, generatedName())
	if err := group.CheckRights(ctx, c.rights(topic, c.Consumer == "")); err != nil {
		return err
	}
	if err := stream.CreateGroup(ctx, c.Client, topic, c.ConsumerGroup, c.StartID); err != nil {
		return fmt.Errorf("create group %q: %w", c.ConsumerGroup, err)
	}
	return nil
}

// candidate returns a consumer that may become the active one.
func (s *Subscriber) candidate(topic string) subscription.Candidate {
	c := s.config
	consumer, release := s.consumer(topic)
	ownership := stream.NewOwnership(c.Client, OwnerKey(topic, c.ConsumerGroup), consumer, c.ClaimMinIdle)
	join := func(ctx context.Context, generation int64) (subscription.Config, error) {
		config, observer := s.subscription(topic, Entry{Consumer: consumer, Generation: generation})
		config.OnEnd = release
		group := c.newGroup(topic, consumer, observer)
		group.Own(ownership)
		membership, err := c.joinGroup(ctx, topic, group, consumer, config.Logger)
		config.Backend = subscription.ExclusiveGroup{Group: c.groupBackend(topic, consumer, membership), Stream: group, Ownership: ownership}
		return config, stream.Redact(err)
	}
	return subscription.Candidate{Ownership: ownership, Join: join, Discard: release}
}
