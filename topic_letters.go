package redisstream

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// streamLetters are the dead letters of one stream.
type streamLetters struct {
	*stream.DeadLetters

	name string
}

// topicLetters are the dead letters of a topic: of one stream, or of several.
type topicLetters []streamLetters

// letterIn is a dead letter, and where it is.
type letterIn struct {
	DeadLetter

	in streamLetters
}

// deadLettersOf returns the dead letters of a topic. The error tells which right is missing.
func deadLettersOf(ctx context.Context, client redis.UniversalClient, topic string, rights stream.DeadLetterAction) (all topicLetters, err error) {
	names, err := stream.StreamsOf(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		in := streamLetters{stream.NewDeadLetters(client, DeadLetterTopic(name), name, DeadLetterStreamKey, deadLetterPrefix), name}
		if err := in.CheckRights(ctx, rights); err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	return all, nil
}

// read iterates over the dead letters, the oldest first.
func (all topicLetters) read(ctx context.Context) iter.Seq2[letterIn, error] {
	sequences := make([]iter.Seq2[letterIn, error], len(all))
	for i, in := range all {
		sequences[i] = func(yield func(letterIn, error) bool) {
			for letter, err := range readAll(ctx, in.DeadLetters, in.name) {
				if !yield(letterIn{letter, in}, err) {
					return
				}
			}
		}
	}
	return stream.Merge(func(a, b letterIn) bool { return stream.Precedes(a.ID, b.ID) }, sequences...)
}

// holding returns the stream that has a dead letter; any, if none has it. The error may be
// ErrAmbiguousID.
func (all topicLetters) holding(ctx context.Context, id string) (streamLetters, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	holder := -1
	for i, in := range all {
		_, found, err := in.Get(ctx, id)
		switch {
		case err != nil:
			return streamLetters{}, err
		case found && holder >= 0:
			return streamLetters{}, fmt.Errorf("%s: %w: %q and %q have it", id, ErrAmbiguousID, all[holder].name, in.name)
		case found:
			holder = i
		}
	}
	return all[max(holder, 0)], nil
}

var errNoGroup = errors.New("names no group or no entry")

// retry gives a dead letter back to its group.
func (l streamLetters) retry(ctx context.Context, id string) (bool, error) {
	stored, found, err := l.Get(ctx, id)
	letter := readDeadLetter(stored)
	switch {
	case err != nil || !found || letter.Stream != "" && letter.Stream != l.name:
		return false, err
	case letter.Group == "" || !stream.ValidID(letter.EntryID):
		return false, fmt.Errorf("dead letter %s: %w", id, errNoGroup)
	}
	return l.Retry(ctx, id, RetryQueueKey(l.name, letter.Group), letter.EntryID)
}
