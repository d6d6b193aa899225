package admin

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// Topic is a stream.
type Topic struct {
	Name        string
	Length      int64     // entries it has
	Added       int64     // entries that were ever added
	FirstID     string    // its oldest entry; empty: it has none
	LastID      string    // the newest ID that it ever had
	Oldest      time.Time // the time in FirstID; zero: it has no entry
	Newest      time.Time // the time in LastID; zero: it never had one
	Bytes       int64     // the server's memory for the stream (MEMORY USAGE); -1: unknown, the user may not ask
	Groups      int
	DeadLetters int64 // entries of DeadLetterTopic, which topics such as "orders" and "{orders}" share
	Delayed     int64 // messages that are not due yet
	Parked      int64 // messages in the retry queues of its groups
}

// deadLetterSuffix ends the name of each stream of dead letters.
var deadLetterSuffix = strings.TrimPrefix(redisstream.DeadLetterTopic("{t}"), "{t}")

// Topics iterates over the topics, in no order (SCAN ... TYPE stream on each master). Streams of
// dead letters are left out: their number is in the topic's. match is a glob pattern as of SCAN;
// empty: all. Topics that are created or deleted during the iteration may be missing; each other
// topic is yielded once. Topics that the user has no right to read are left out.
func (a *Admin) Topics(ctx context.Context, match string) iter.Seq2[Topic, error] {
	keys := func(name string) (stream.InspectedKeys, bool) {
		return keysOf(name), !strings.HasSuffix(name, deadLetterSuffix)
	}
	return func(yield func(Topic, error) bool) {
		for found, err := range stream.Topics(ctx, a.client, match, keys) {
			if err != nil {
				yield(Topic{}, fmt.Errorf("topics: %w", stream.Redact(err)))
				return
			}
			if !yield(topicOf(found.Name, found.TopicState), nil) {
				return
			}
		}
	}
}

// Topic returns a topic. The error wraps ErrNoTopic.
func (a *Admin) Topic(ctx context.Context, topic string) (Topic, error) {
	state, err := a.inspect(topic).Topic(ctx)
	if err != nil {
		return Topic{}, topicError(topic, err)
	}
	return topicOf(topic, state), nil
}

func topicOf(name string, state stream.TopicState) Topic {
	return Topic{
		Name: name, Length: state.Length, Added: state.Added, FirstID: state.First, LastID: state.Last,
		Oldest: timeOf(state.First), Newest: timeOf(state.Last), Bytes: state.Bytes, Groups: state.Groups,
		DeadLetters: state.DeadLetters, Delayed: state.Delayed, Parked: state.Parked,
	}
}
