package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// scan is one call of Topics.
type scan struct {
	*Admin

	partitions map[string]map[string]bool // by topic: streams with the name of a partition
}

// streams yields the topics that are streams, and collects the partitions.
func (s *scan) streams(ctx context.Context, match string, yield func(Topic, error) bool) bool {
	return s.scan(ctx, match, yield, func(name string) bool { return !s.collect(name) && !strings.HasSuffix(name, deadLetterSuffix) })
}

// partitionsOf collects the partitions of topics whose names match.
func (s *scan) partitionsOf(ctx context.Context, match string, yield func(Topic, error) bool) bool {
	return s.scan(ctx, match+":*/*:{*}", yield, func(name string) bool {
		s.collect(name)
		return false
	})
}

// collect keeps the name of a stream, if it is that of a partition.
func (s *scan) collect(name string) bool {
	topic, _, _, ok := redisstream.ParsePartitionTopic(name)
	if ok && s.partitions[topic] == nil {
		s.partitions[topic] = make(map[string]bool)
	}
	if ok {
		s.partitions[topic][name] = true
	}
	return ok
}

// scan yields the streams that match and that are wanted. It reports whether to go on.
func (s *scan) scan(ctx context.Context, match string, yield func(Topic, error) bool, wanted func(name string) bool) bool {
	keys := func(name string) (stream.InspectedKeys, bool) { return keysOf(name), wanted(name) }
	for found, err := range stream.Topics(ctx, s.client, match, keys) {
		if err != nil {
			yield(Topic{}, fmt.Errorf("topics: %w", stream.Redact(err)))
			return false
		}
		if !yield(topicOf(found.Name, found.TopicState), nil) {
			return false
		}
	}
	return true
}

// partitioned yields the topics of the partitions that were found, and those that are partitions of no
// topic.
func (s *scan) partitioned(ctx context.Context, yield func(Topic, error) bool) {
	topics := slices.Collect(maps.Keys(s.partitions))
	for page := range slices.Chunk(topics, snapshotPage) {
		for i, topic := range s.Admin.partitioned(ctx, page) {
			if topic.err != nil && !stream.IsNoRightOnKey(topic.err) {
				yield(Topic{}, topicError(page[i], topic.err))
				return
			}
			if topic.Partitions > 0 && !yield(topic.Topic, nil) || !s.others(ctx, page[i], topic.Topic, yield) {
				return
			}
		}
	}
}

// others yields the streams with the names of partitions that the topic does not have.
func (s *scan) others(ctx context.Context, name string, topic Topic, yield func(Topic, error) bool) bool {
	names := s.partitions[name]
	if topic.Partitions > 0 {
		for _, known := range topic.streams() {
			delete(names, known)
		}
	}
	topics, errs := s.describe(ctx, slices.Collect(maps.Keys(names)))
	for i, err := range errs {
		switch {
		case stream.IsNoStream(err) || stream.IsNoRightOnKey(err):
		case err != nil:
			yield(Topic{}, topicError(topics[i].Name, err))
			return false
		case !yield(topics[i], nil):
			return false
		}
	}
	return true
}
