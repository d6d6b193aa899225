package stream

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Streams returns the streams of a topic with that number of partitions, those that drain last. A topic
// without partitions is one stream.
func (c PartitionCount) Streams(topic string) []string {
	if c.Partitions == 0 {
		return []string{topic}
	}
	names := make([]string, 0, c.Partitions+c.Draining)
	for _, n := range []int{c.Partitions, c.Draining} {
		for i := range n {
			names = append(names, PartitionName(topic, i, n))
		}
	}
	return names
}

// StreamsOf returns the streams of a topic (GET).
func StreamsOf(ctx context.Context, client redis.UniversalClient, topic string) ([]string, error) {
	if !CanHavePartitions(topic) {
		return []string{topic}, nil
	}
	count, err := countOrNone(StoredPartitions(ctx, client, topic))
	if err != nil {
		return nil, err
	}
	return count.Streams(topic), nil
}

// PartitionCounts returns what is stored for each topic, in a pipeline, and the error of each. It is
// zero for a topic without partitions.
func PartitionCounts(ctx context.Context, client redis.UniversalClient, topics []string) ([]PartitionCount, []error) {
	counts, errs, replies := make([]PartitionCount, len(topics)), make([]error, len(topics)), make([]*redis.StringCmd, len(topics))
	pipe := client.Pipeline()
	for i, topic := range topics {
		if CanHavePartitions(topic) {
			replies[i] = pipe.Get(ctx, topic)
		}
	}
	_, _ = pipe.Exec(ctx) // each reply has its error; nothing is sent, if there is none
	for i, reply := range replies {
		if reply != nil {
			counts[i], errs[i] = countOrNone(readPartitionCount(reply.Result()))
		}
	}
	return counts, errs
}

// countOrNone returns zero for a topic that is a stream, or no topic at all.
func countOrNone(count PartitionCount, err error) (PartitionCount, error) {
	if errors.Is(err, ErrIsStream) || errors.Is(err, ErrNoCount) {
		return PartitionCount{}, nil
	}
	return count, err
}
