package redisstream

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// DeadLetter is an entry of a topic's dead-letter stream, as DeadLetters returns it.
type DeadLetter struct {
	ID         string    // its ID in DeadLetterTopic(topic): what ReplayDeadLettersByID and DropDeadLettersByID take
	Reason     string    // why it was not delivered again
	Error      string    // the last error of its handler, where one is known
	Stream     string    // the topic that it was in
	EntryID    string    // its ID there
	Group      string    // the consumer group that gave it up
	Consumer   string    // the consumer that had it last
	Deliveries int64     // how often it was delivered to a handler
	Time       time.Time // when it was given up; zero: the letter does not say
	// Fields are those of the entry that it was, as a Marshaler returned them. Values are strings.
	Fields map[string]any
}

// DeadLetters iterates over the dead letters of topic, the oldest first, up to the newest that there is at its first step. It reads
// (XRANGE in a script) in pages of up to 100 letters and about 1 MiB, from the master also where client reads from replicas.
// The loop may replay or drop what it is given. Letters of another topic in the same stream, as of "{orders}"
// beside "orders", are left out. An error is the last thing that comes.
func DeadLetters(ctx context.Context, client redis.UniversalClient, topic string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		letters := lettersOf(client, topic)
		if err := letters.CheckRights(ctx, stream.ReadDeadLetters); err != nil {
			yield(DeadLetter{}, lettersError("read", topic, err))
			return
		}
		readAll(ctx, letters, topic)(yield)
	}
}

// readAll is DeadLetters for who has the right to read them.
func readAll(ctx context.Context, letters *stream.DeadLetters, topic string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for letter, err := range letters.All(ctx) {
			if err != nil {
				yield(DeadLetter{}, lettersError("read", topic, err))
				return
			}
			read := readDeadLetter(letter)
			if read.Stream != "" && read.Stream != topic {
				continue
			}
			if !yield(read, nil) {
				return
			}
		}
	}
}

// ReplayDeadLetters moves the oldest dead letters of topic, at most limit of them, back into topic as
// new entries, whole and in their order, and returns how many it moved, also with an error. All groups of the topic get them
// again, not only the one that gave them up. Moving one is one step on the server (XADD and XDEL in a script), so that
// none is lost or doubled when it is interrupted; a move whose reply was lost is tried again, and counted. Letters that come
// meanwhile, and those of another topic in the same stream, stay.
func ReplayDeadLetters(ctx context.Context, client redis.UniversalClient, topic string, limit int) (int, error) {
	return settleLetters(ctx, client, topic, replaying, max(limit, 0), func(DeadLetter) bool { return true })
}

// ReplayDeadLettersFunc moves those dead letters of topic back into it for which choose returns true, as ReplayDeadLetters does.
func ReplayDeadLettersFunc(ctx context.Context, client redis.UniversalClient, topic string, choose func(DeadLetter) bool) (int, error) {
	return settleLetters(ctx, client, topic, replaying, -1, choose)
}

// ReplayDeadLettersByID moves the dead letters with these IDs (DeadLetter.ID) back into topic, in the order of ids, as
// ReplayDeadLetters does. An ID that no dead letter of topic has is not counted.
func ReplayDeadLettersByID(ctx context.Context, client redis.UniversalClient, topic string, ids ...string) (int, error) {
	return settleIDs(ctx, client, topic, replaying, ids)
}

// DropDeadLettersFunc deletes those dead letters of topic for which choose returns true (XDEL in a script), and returns how many,
// also with an error.
func DropDeadLettersFunc(ctx context.Context, client redis.UniversalClient, topic string, choose func(DeadLetter) bool) (int, error) {
	return settleLetters(ctx, client, topic, dropping, -1, choose)
}

// DropDeadLettersByID deletes the dead letters with these IDs (DeadLetter.ID), and returns how many, also with an error. An ID that
// no dead letter of topic has is not counted.
func DropDeadLettersByID(ctx context.Context, client redis.UniversalClient, topic string, ids ...string) (int, error) {
	return settleIDs(ctx, client, topic, dropping, ids)
}

// settlement is what becomes of a letter.
type settlement struct {
	name   string
	task   stream.DeadLetterAction
	settle func(*stream.DeadLetters, context.Context, string) (bool, error)
}

var (
	replaying = settlement{"replay", stream.ReplayDeadLetters, (*stream.DeadLetters).Replay}
	dropping  = settlement{"drop", stream.DropDeadLetters, (*stream.DeadLetters).Drop}
)

func lettersOf(client redis.UniversalClient, topic string) *stream.DeadLetters {
	return stream.NewDeadLetters(client, DeadLetterTopic(topic), topic, DeadLetterStreamKey, deadLetterPrefix)
}

// settleLetters settles the oldest letters that are chosen, at most limit; below 0: all of them.
func settleLetters(
	ctx context.Context, client redis.UniversalClient, topic string, how settlement, limit int, choose func(DeadLetter) bool,
) (settled int, err error) {
	letters := lettersOf(client, topic)
	if err := letters.CheckRights(ctx, how.task); err != nil {
		return 0, lettersError(how.name, topic, err)
	}
	if limit == 0 {
		return 0, nil
	}
	for letter, err := range readAll(ctx, letters, topic) {
		if err != nil {
			return settled, fmt.Errorf("%s: %w", how.name, err)
		}
		if !choose(letter) {
			continue
		}
		done, err := how.settle(letters, ctx, letter.ID)
		if err != nil {
			return settled, lettersError(how.name, topic, err)
		}
		if done {
			settled++
		}
		if settled == limit {
			break
		}
	}
	return settled, nil
}

func settleIDs(ctx context.Context, client redis.UniversalClient, topic string, how settlement, ids []string) (settled int, err error) {
	for _, id := range ids {
		if !stream.ValidID(id) {
			return 0, lettersError(how.name, topic, fmt.Errorf("%q is not an entry's ID", id))
		}
	}
	letters := lettersOf(client, topic)
	if err := letters.CheckRights(ctx, how.task); err != nil {
		return 0, lettersError(how.name, topic, err)
	}
	for _, id := range ids {
		done, err := how.settle(letters, ctx, id)
		if err != nil {
			return settled, lettersError(how.name, topic, err)
		}
		if done {
			settled++
		}
	}
	return settled, nil
}

func lettersError(doing, topic string, err error) error {
	return fmt.Errorf("%s dead letters of %q: %w", doing, topic, stream.Redact(err))
}

func readDeadLetter(letter stream.DeadLetter) DeadLetter {
	about := make(map[string]string)
	read := DeadLetter{ID: letter.ID, Fields: make(map[string]any, len(letter.Fields)/2)}
	for pair := range slices.Chunk(letter.Fields, 2) {
		name, _ := pair[0].(string)
		value, _ := pair[len(pair)-1].(string)
		if strings.HasPrefix(name, deadLetterPrefix) {
			about[name] = value
		} else {
			read.Fields[name] = value
		}
	}
	read.Reason, read.Error = about[DeadLetterReasonKey], about[deadLetterPrefix+"error"]
	read.Stream, read.EntryID = about[DeadLetterStreamKey], about[DeadLetterIDKey]
	read.Group, read.Consumer = about[DeadLetterGroupKey], about[DeadLetterConsumerKey]
	read.Deliveries, _ = strconv.ParseInt(about[DeadLetterDeliveriesKey], 10, 64) // others may write letters, too
	read.Time, _ = time.Parse(time.RFC3339Nano, about[DeadLetterTimeKey])
	return read
}
