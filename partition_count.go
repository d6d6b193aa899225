package redisstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// ErrPartitions is wrapped by the error of Publish, Subscribe, SubscribeInitialize and SetPartitions
// when a topic has another number of partitions than the caller has, or none. The error's text has
// the topic and both numbers. Nothing was sent to a stream.
var ErrPartitions = errors.New("the number of partitions differs")

// ErrAmbiguousID is wrapped by the error of functions that take IDs of entries, if several partitions of
// the topic have an entry with that ID. Call the function with the PartitionTopic of one of them.
var ErrAmbiguousID = errors.New("several partitions have an entry with that ID: give the name of one")

var (
	errPartitionedName = errors.New(`a topic with a "{" or "}" can't have partitions`)
	errNotMaxed        = fmt.Errorf("is not from 1 to %d", MaxPartitions)
)

// SetPartitions changes the number of partitions of a topic from one number to another (GET and SET, in
// a script). From then on a Publisher that begins to publish to the topic needs the new number.
// Subscribers may have the new number, or the old one: so the old partitions are read to their end,
// also by processes that restart meanwhile.
//
// Call it again with the new number twice when nothing is left in the old partitions: then the old
// number is refused. Until that, the number can't be changed once more, but it can be changed back.
// What runs already is not affected: a Publisher asks once for each topic. docs/partitions.md has the
// procedure, and what it means for the order.
//
// If the topic has another number than from, or none, nothing is changed, and the error wraps
// ErrPartitions. A change that is made already is no error.
func SetPartitions(ctx context.Context, client redis.UniversalClient, topic string, from, to int) error {
	for _, number := range []int{from, to} {
		if number < 1 || number > MaxPartitions {
			return fmt.Errorf("set partitions of %q: %d %w", topic, number, errNotMaxed)
		}
	}
	stored, changed, err := stream.ChangePartitions(ctx, client, topic, from, to)
	switch {
	case err != nil:
		err = partitionsError(err)
	case changed:
		return nil
	case stored.Partitions == from:
		err = fmt.Errorf("%w: %d are still drained; call SetPartitions with %d and %d first", ErrPartitions, stored.Draining, from, from)
	default:
		err = fmt.Errorf("%w: it has %s, not %d", ErrPartitions, numberOf(stored), from)
	}
	return fmt.Errorf("set partitions of %q: %w", topic, err)
}

func numberOf(stored stream.PartitionCount) string {
	if stored.Partitions == 0 {
		return "none"
	}
	return strconv.Itoa(stored.Partitions)
}

// agreeOnPartitions stores the number of partitions with the topic, or returns an error if the topic
// has another number. What drains may also have the number before.
func agreeOnPartitions(ctx context.Context, client redis.UniversalClient, topic string, partitions int, drains bool) error {
	if !stream.CanHavePartitions(topic) {
		return errPartitionedName
	}
	stored, err := stream.AgreeOnPartitions(ctx, client, topic, partitions)
	switch {
	case err != nil:
		return partitionsError(err)
	case stored.Partitions == partitions, drains && stored.Draining == partitions:
		return nil
	}
	return fmt.Errorf("%w: the topic has %s, this process is configured for %d", ErrPartitions, numberOf(stored), partitions)
}

// partitionsError adds to an error of the stored number of partitions what it means.
func partitionsError(err error) error {
	if errors.Is(err, stream.ErrIsStream) {
		return fmt.Errorf("%w: the topic has a stream of its own, without partitions", ErrPartitions)
	}
	if errors.Is(err, stream.ErrNoCount) {
		return fmt.Errorf("%w: %w", ErrPartitions, err)
	}
	return stream.Redact(err)
}

// explainWrongType replaces the refusal of a command on the stream named topic, if the reason is that
// the topic has partitions.
func explainWrongType(ctx context.Context, client redis.UniversalClient, topic string, refusal error) error {
	if !stream.IsWrongType(refusal) {
		return refusal
	}
	stored, err := stream.StoredPartitions(context.WithoutCancel(ctx), client, topic)
	if err != nil || stored.Partitions == 0 { // another reason, or a user who may not look
		return refusal
	}
	return fmt.Errorf("%w: the topic has %s, this process is configured for none: %w", ErrPartitions, numberOf(stored), refusal)
}
