package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/millrace/redisstream/internal/stream"
)

// streams returns the streams of a topic: those of its partitions, or the one with its name.
func (a *Admin) streams(ctx context.Context, topic string) ([]string, error) {
	names, err := stream.StreamsOf(ctx, a.client, topic)
	if err != nil {
		return nil, topicError(topic, err)
	}
	return names, nil
}

// onEach calls do for each stream of a topic. Streams that lack what the action is about are passed
// over, unless all of them do.
func (a *Admin) onEach(ctx context.Context, topic string, do func(name string) error) error {
	names, err := a.streams(ctx, topic)
	if err != nil {
		return err
	}
	var missing error
	found := false
	for _, name := range names {
		err := do(name)
		switch {
		case err == nil:
			found = true
		case !isMissing(err):
			return err
		case missing == nil || errors.Is(missing, ErrNoTopic):
			missing = err
		}
	}
	if found {
		return nil
	}
	if len(names) > 1 {
		missing = fmt.Errorf("none of the %d partitions of %q: %w", len(names), topic, missing)
	}
	return missing
}

// holder returns the stream of a topic that has an entry with an ID; empty: none. The error may be
// ErrAmbiguousID.
func (a *Admin) holder(ctx context.Context, topic, id string, has func(name string) (bool, error)) (holder string, err error) {
	names, err := a.streams(ctx, topic)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		found, err := has(name)
		switch {
		case err != nil && (len(names) == 1 || !isMissing(err)):
			return "", err
		case found && holder != "":
			return "", fmt.Errorf("%s: %w: %q and %q have it", id, ErrAmbiguousID, holder, name)
		case found:
			holder = name
		}
	}
	return holder, nil
}

func isMissing(err error) bool {
	return errors.Is(err, ErrNoTopic) || errors.Is(err, ErrNoGroup) || errors.Is(err, ErrNoConsumer)
}

// checked calls do for each stream of a topic. If there are several, it is a dry run first, so that
// nothing is changed where one of them refuses.
func (a *Admin) checked(ctx context.Context, topic string, dryRun bool, do func(name string, dryRun bool) error) error {
	names, err := a.streams(ctx, topic)
	if err == nil && len(names) > 1 && !dryRun {
		err = a.onEach(ctx, topic, func(name string) error { return do(name, true) })
	}
	if err != nil {
		return err
	}
	return a.onEach(ctx, topic, func(name string) error { return do(name, dryRun) })
}

// merged iterates over what read returns of each stream of a topic, in the order of before. Streams
// that lack what is read are passed over, unless all of them do.
func merged[T any](
	ctx context.Context, a *Admin, topic string, read func(name string) iter.Seq2[T, error], before func(x, y T) bool,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		names, err := a.streams(ctx, topic)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		missing := make([]error, len(names))
		sequences := make([]iter.Seq2[T, error], len(names))
		for i, name := range names {
			sequences[i] = read(name)
			if len(names) > 1 {
				sequences[i] = without(sequences[i], &missing[i])
			}
		}
		for value, err := range stream.Merge(before, sequences...) {
			if !yield(value, err) {
				return
			}
		}
		if !slices.Contains(missing, nil) {
			var none T
			yield(none, fmt.Errorf("none of the %d partitions of %q: %w", len(names), topic, missing[0]))
		}
	}
}

// without ends a sequence where something is missing, and stores that error.
func without[T any](sequence iter.Seq2[T, error], missing *error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for value, err := range sequence {
			if err != nil && isMissing(err) {
				*missing = err
				return
			}
			if !yield(value, err) {
				return
			}
		}
	}
}
