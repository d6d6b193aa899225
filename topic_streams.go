package redisstream

import (
	"context"
	"fmt"
	"iter"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// inAllStreams returns what read returns of each stream of a topic, in the order of before.
func inAllStreams[T any](
	ctx context.Context, client redis.UniversalClient, topic string,
	read func(name string) iter.Seq2[T, error], before func(a, b T) bool,
) (iter.Seq2[T, error], error) {
	names, err := stream.StreamsOf(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	sequences := make([]iter.Seq2[T, error], len(names))
	for i, name := range names {
		sequences[i] = read(name)
	}
	return stream.Merge(before, sequences...), nil
}

// onEachStream calls do for each stream of a topic, and returns the sum of what it returns.
func onEachStream(ctx context.Context, client redis.UniversalClient, topic string, do func(name string) (int, error)) (sum int, err error) {
	names, err := stream.StreamsOf(ctx, client, topic)
	if err != nil {
		return 0, fmt.Errorf("partitions of %q: %w", topic, stream.Redact(err))
	}
	for _, name := range names {
		n, err := do(name)
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, nil
}
