package redisstream

import (
	"context"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// prepareExclusive prepares a subscription that stands by until it is the active one of its group.
func (s *Subscriber) prepareExclusive(ctx context.Context, topic string) (prepared, error) {
	if err := s.checkExclusiveRights(ctx, topic); err != nil {
		return prepared{}, err
	}
	if err := s.createGroup(ctx, topic); err != nil {
		return prepared{}, err
	}
	start := func(paused bool) running {
		return subscription.StartExclusive(ctx, subscription.ExclusiveConfig{
			Candidate: func() subscription.Candidate { return s.candidate(topic, topic) },
			Lease:     s.config.ClaimMinIdle,
			Paused:    paused,
			Logger:    s.loggerOf(topic),
		})
	}
	return prepared{start: start, discard: func() {}}, nil
}

// checkExclusiveRights fails if the active consumer of a stream would lack a right. The consumer
// joins the group when it is the active one.
func (s *Subscriber) checkExclusiveRights(ctx context.Context, name string) error {
	c := s.config
	group := stream.NewGroup(c.Client, name, c.ConsumerGroup, generatedName())
	return group.CheckRights(ctx, c.rights(name, c.Consumer == ""))
}

// candidate returns a consumer that may become the active one of a stream: that of the topic, or of
// one of its partitions.
func (s *Subscriber) candidate(topic, name string) subscription.Candidate {
	c := s.config
	consumer, release := s.consumer(name)
	ownership := stream.NewOwnership(c.Client, OwnerKey(name, c.ConsumerGroup), consumer, c.ClaimMinIdle)
	join := func(ctx context.Context, generation int64) (subscription.Config, error) {
		config, observer := s.subscription(topic, Entry{Stream: name, Consumer: consumer, Generation: generation})
		config.OnEnd = release
		group := c.newGroup(name, consumer, observer)
		group.Own(ownership)
		membership, err := c.joinGroup(ctx, name, group, consumer, config.Logger)
		config.Backend = subscription.ExclusiveGroup{Group: c.groupBackend(name, consumer, membership), Stream: group, Ownership: ownership}
		return config, stream.Redact(err)
	}
	return subscription.Candidate{Ownership: ownership, Join: join, Discard: release}
}
