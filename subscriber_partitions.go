package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// preparePartitions prepares a member of a group that share the partitions of a topic.
func (s *Subscriber) preparePartitions(ctx context.Context, topic string) (ready prepared, err error) {
	c := s.config
	record := stream.NewPartitionMembers(c.Client, PartitionMembersKey(topic, c.ConsumerGroup))
	if err := record.CheckRights(ctx); err != nil {
		return ready, err
	}
	if err := s.checkExclusiveRights(ctx, PartitionTopic(topic, 0, c.Partitions)); err != nil {
		return ready, err
	}
	if err := s.createGroups(ctx, topic); err != nil {
		return ready, err
	}
	name, release := s.consumer(topic)
	ready.start = func(paused bool) running {
		return subscription.StartPartitioned(ctx, subscription.PartitionedConfig{
			Name: name, Partitions: c.Partitions, Record: record,
			Candidate: func(partition int) subscription.Candidate {
				return s.candidate(topic, PartitionTopic(topic, partition, c.Partitions))
			},
			Lease: c.ClaimMinIdle, CloseTimeout: max(c.CloseTimeout, 0), Paused: paused, OnEnd: release,
			Logger: s.loggerOf(topic),
		})
	}
	ready.discard = release
	return ready, nil
}

// preparePartitionsFanout prepares a fan-out that reads all partitions of a topic.
func (s *Subscriber) preparePartitionsFanout(ctx context.Context, topic string) (ready prepared, err error) {
	if err := s.agreeOnPartitions(ctx, topic); err != nil {
		return ready, err
	}
	configs := make([]subscription.Config, s.config.Partitions)
	err = s.eachPartition(topic, func(i int, name string) (err error) {
		config, observer := s.subscription(topic, Entry{Stream: name})
		config.Backend, err = s.config.joinFanout(ctx, name, config.Logger, observer)
		config.OnEnd = func() {}
		configs[i] = config
		return err
	})
	ready.start = func(paused bool) running { return subscription.StartTogether(ctx, configs, paused) }
	ready.discard = func() {}
	return ready, err
}

func (s *Subscriber) agreeOnPartitions(ctx context.Context, topic string) error {
	return agreeOnPartitions(ctx, s.config.Client, topic, s.config.Partitions, true)
}

// createGroups creates the group of each partition's stream, if it is missing. It fails if the topic
// has another number of partitions.
func (s *Subscriber) createGroups(ctx context.Context, topic string) error {
	if err := s.agreeOnPartitions(ctx, topic); err != nil {
		return err
	}
	return s.eachPartition(topic, func(_ int, name string) error { return s.createGroup(ctx, name) })
}

// partitionsAtOnce bounds how many partitions are prepared at the same time.
const partitionsAtOnce = 32

// eachPartition calls a function for each partition of a topic. It returns an error that names the
// partition.
func (s *Subscriber) eachPartition(topic string, do func(i int, name string) error) error {
	n := s.config.Partitions
	failures := make([]error, min(n, partitionsAtOnce))
	var all sync.WaitGroup
	for first := range failures {
		all.Go(func() {
			for i := first; i < n; i += len(failures) {
				if err := do(i, PartitionTopic(topic, i, n)); err != nil {
					failures[first] = fmt.Errorf("partition %d: %w", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	return cmp.Or(failures...)
}
