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

// StreamsOf returns the streams of a topic (GET). A topic whose name the user may not read counts as one
// without partitions.
func StreamsOf(ctx context.Context, client redis.UniversalClient, topic string) ([]string, error) {
	counts, err := PartitionCounts(ctx, client, []string{topic})
	if err != nil {
		return nil, err
	}
	return counts[0].Streams(topic), nil
}

// PartitionCounts returns what is stored for each topic, as StreamsOf sees it: zero for a topic without
// partitions.
func PartitionCounts(ctx context.Context, client redis.UniversalClient, topics []string) ([]PartitionCount, error) {
	counts, replies := make([]PartitionCount, len(topics)), make([]*redis.StringCmd, len(topics))
	pipe := client.Pipeline()
	for i, topic := range topics {
		if CanHavePartitions(topic) {
			replies[i] = pipe.Get(ctx, topic)
		}
	}
	_, _ = pipe.Exec(ctx) // each reply has its error; nothing is sent, if there is none
	for i, reply := range replies {
		if reply == nil {
			continue
		}
		count, err := readPartitionCount(reply.Result())
		switch {
		case err == nil:
			counts[i] = count
		case !errors.Is(err, ErrIsStream) && !errors.Is(err, ErrNoCount) && !redis.IsPermissionError(err):
			return nil, err
		}
	}
	return counts, nil
}
