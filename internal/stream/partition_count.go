package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// PartitionCount is what is stored under the name of a topic with partitions. It is a string, so XADD
// and XREADGROUP of whoever takes the topic for a stream fail (WRONGTYPE).
type PartitionCount struct {
	Partitions int
	Draining   int // the number before, whose partitions may still be read; 0: none
}

// String is what is stored.
func (c PartitionCount) String() string {
	if c.Draining == 0 {
		return fmt.Sprintf("partitions=%d", c.Partitions)
	}
	return fmt.Sprintf("partitions=%d draining=%d", c.Partitions, c.Draining)
}

var (
	// ErrIsStream is the error if a stream, or another key that is not a string, has the name of the topic.
	ErrIsStream = errors.New("a key of another type has the name of the topic")
	// ErrNoCount is the error if a string that is no PartitionCount has the name of the topic.
	ErrNoCount = errors.New("a string that is no number of partitions has the name of the topic")
)

// AgreeOnPartitions stores the number of partitions of a topic, unless one is stored, and returns what
// is stored. go-redis does not try again, so the client's time-outs bound it. A repetition changes
// nothing, so an error without an answer is one of NotSent.
func AgreeOnPartitions(ctx context.Context, client redis.UniversalClient, topic string, partitions int) (PartitionCount, error) {
	command := redis.NewCmd(ctx, "eval", agreePartitionsSource, 1, topic, PartitionCount{Partitions: partitions}.String())
	_ = client.Process(ctx, onceCmd{command})
	count, err := readPartitionCount(command.Text())
	if _, refused := errors.AsType[redis.Error](command.Err()); command.Err() != nil && !refused {
		err = NotSent(err)
	}
	return count, err
}

// StoredPartitions returns what is stored; zero: nothing.
func StoredPartitions(ctx context.Context, client redis.UniversalClient, topic string) (PartitionCount, error) {
	return readPartitionCount(client.Get(ctx, topic).Result())
}

// readPartitionCount reads what GET, or a script, returned.
func readPartitionCount(text string, err error) (count PartitionCount, _ error) {
	switch {
	case IsWrongType(err):
		return count, ErrIsStream
	case errors.Is(err, redis.Nil):
		return count, nil
	case err != nil:
		return count, err
	}
	// What does not follow the format leaves zeros, or another text.
	_, _ = fmt.Sscanf(text, "partitions=%d draining=%d", &count.Partitions, &count.Draining)
	if count.String() != text {
		return PartitionCount{}, ErrNoCount
	}
	return count, nil
}

// changeTries bounds how often a change is tried while others change the same topic.
const changeTries = 10

// ChangePartitions changes the stored number from one to another, and lets the first drain; with two
// equal numbers it ends the draining. What is stored already is no error. If something else is stored
// it returns that, and false.
func ChangePartitions(
	ctx context.Context, client redis.UniversalClient, topic string, from, to int,
) (stored PartitionCount, changed bool, err error) {
	want := PartitionCount{Partitions: to, Draining: from}
	if from == to {
		want.Draining = 0
	}
	var before PartitionCount // never stored: the first try only reads
	for range changeTries {
		reply := swapPartitionsScript.Run(ctx, client, []string{topic}, before.String(), want.String())
		stored, err = readPartitionCount(reply.Text())
		if err != nil || stored == want {
			return stored, err == nil, err
		}
		drained := stored.Draining == 0 || stored.Draining == to || from == to
		if stored.Partitions != from || !drained {
			break
		}
		before = stored
	}
	return stored, false, nil
}
