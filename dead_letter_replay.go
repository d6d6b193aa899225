package redisstream

import (
	"cmp"
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

// DeadLetter is a dead letter of a topic, as DeadLetters returns it.
type DeadLetter struct {
	ID         string    // its ID in DeadLetterTopic(topic), for ReplayDeadLettersByID and DropDeadLettersByID
	Reason     string    // why it is a dead letter
	Error      string    // its handler's last error; empty: unknown
	Stream     string    // the stream that it is a dead letter of: the topic, or one of its partitions
	EntryID    string    // the ID of its entry
	Group      string    // the consumer group that dead-lettered it
	Consumer   string    // the consumer that had it last
	Deliveries int64     // how often it was delivered to a handler
	Time       time.Time // when it became a dead letter; zero: unknown
	// Fields are the fields of its entry, as a Marshaler returned them. Values are strings.
	Fields map[string]any
}

// DeadLetters iterates over the dead letters of topic, the oldest first. It ends with the newest
// one at the time of its first step. It reads (XRANGE in a script) in pages of up to 100 dead
// letters and about 1 MiB, from the master also where client reads from replicas. The loop may
// replay or drop the dead letter that it gets. Those of another topic in the same stream, as of
// "{orders}" beside "orders", are left out. After an error the iteration ends.
//
// If the topic has partitions (GET), the functions for dead letters work on all of them, and
// DeadLetter.Stream is the partition. Entries of two partitions may have the same ID: then the
// functions that take IDs act on neither, and return an error that wraps ErrAmbiguousID.
func DeadLetters(ctx context.Context, client redis.UniversalClient, topic string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		all, err := deadLettersOf(ctx, client, topic, stream.ReadDeadLetters)
		if err != nil {
			yield(DeadLetter{}, deadLettersError("read", topic, err))
			return
		}
		for letter, err := range all.read(ctx) {
			if !yield(letter.DeadLetter, err) {
				return
			}
		}
	}
}

// readAll iterates over the dead letters of one stream.
func readAll(ctx context.Context, deadLetters *stream.DeadLetters, topic string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for letter, err := range deadLetters.All(ctx) {
			if err != nil {
				yield(DeadLetter{}, deadLettersError("read", topic, err))
				return
			}
			read := readDeadLetter(letter)
			if read.Stream = cmp.Or(read.Stream, topic); read.Stream != topic {
				continue
			}
			if !yield(read, nil) {
				return
			}
		}
	}
}

// ReplayDeadLetters moves the oldest dead letters of topic, at most limit, back into topic as new
// entries with the same fields and in the same order. It returns how many it moved, also with an
// error. All groups of the topic get them, not only the group that dead-lettered them.
//
// Each is moved in one step on the server (XADD and XDEL in a script), so an interruption loses or
// duplicates none. If the reply to a move is lost, it is sent again and counted once. Dead letters
// that are added meanwhile, and those of another topic in the same stream, stay.
func ReplayDeadLetters(ctx context.Context, client redis.UniversalClient, topic string, limit int) (int, error) {
	return applyWhere(ctx, client, topic, replaying, max(limit, 0), func(DeadLetter) bool { return true })
}

// ReplayDeadLettersFunc moves the dead letters for which choose returns true back into topic, as
// ReplayDeadLetters does.
func ReplayDeadLettersFunc(ctx context.Context, client redis.UniversalClient, topic string, choose func(DeadLetter) bool) (int, error) {
	return applyWhere(ctx, client, topic, replaying, -1, choose)
}

// ReplayDeadLettersByID moves the dead letters with the given IDs (DeadLetter.ID) back into topic,
// in the order of ids, as ReplayDeadLetters does. It ignores IDs that no dead letter of topic has.
func ReplayDeadLettersByID(ctx context.Context, client redis.UniversalClient, topic string, ids ...string) (int, error) {
	return applyByID(ctx, client, topic, replaying, ids)
}

// RetryDeadLetters gives the oldest dead letters of topic, at most limit, back to the group that
// gave them up (DeadLetter.Group), in one step each (XDEL and ZADD in a script). No other group gets
// them: they go to RetryQueueKey(topic, group), and the group gets them within ClaimInterval, with
// their Entry.ID (DeadLetter.EntryID). Their deliveries are counted from 0. It returns how many it
// moved, also with an error. A dead letter that names no group is an error that names it: replay it
// instead.
func RetryDeadLetters(ctx context.Context, client redis.UniversalClient, topic string, limit int) (int, error) {
	return applyWhere(ctx, client, topic, retrying, max(limit, 0), func(DeadLetter) bool { return true })
}

// RetryDeadLettersFunc gives the dead letters for which choose returns true back to their group, as
// RetryDeadLetters does.
func RetryDeadLettersFunc(ctx context.Context, client redis.UniversalClient, topic string, choose func(DeadLetter) bool) (int, error) {
	return applyWhere(ctx, client, topic, retrying, -1, choose)
}

// RetryDeadLettersByID gives the dead letters with the given IDs (DeadLetter.ID) back to their group,
// as RetryDeadLetters does. It ignores IDs that no dead letter of topic has.
func RetryDeadLettersByID(ctx context.Context, client redis.UniversalClient, topic string, ids ...string) (int, error) {
	return applyByID(ctx, client, topic, retrying, ids)
}

// DropDeadLettersFunc deletes the dead letters of topic for which choose returns true (XDEL in a
// script). It returns how many it deleted, also with an error.
func DropDeadLettersFunc(ctx context.Context, client redis.UniversalClient, topic string, choose func(DeadLetter) bool) (int, error) {
	return applyWhere(ctx, client, topic, dropping, -1, choose)
}

// DropDeadLettersByID deletes the dead letters of topic with the given IDs (DeadLetter.ID). It
// returns how many it deleted, also with an error. It ignores IDs that no dead letter of topic has.
func DropDeadLettersByID(ctx context.Context, client redis.UniversalClient, topic string, ids ...string) (int, error) {
	return applyByID(ctx, client, topic, dropping, ids)
}

// action is what is done to dead letters.
type action struct {
	name   string
	rights stream.DeadLetterAction
	do     func(streamLetters, context.Context, string) (bool, error)
}

var (
	replaying = action{"replay", stream.ReplayDeadLetters, streamLetters.Replay}
	retrying  = action{"retry", stream.RetryDeadLetters, streamLetters.retry}
	dropping  = action{"drop", stream.DropDeadLetters, streamLetters.Drop}
)

// applyWhere applies the action to the oldest dead letters that choose accepts: to at most limit,
// or to all if limit is negative.
func applyWhere(
	ctx context.Context, client redis.UniversalClient, topic string, action action, limit int, choose func(DeadLetter) bool,
) (applied int, err error) {
	all, err := deadLettersOf(ctx, client, topic, action.rights)
	if err != nil {
		return 0, deadLettersError(action.name, topic, err)
	}
	if limit == 0 {
		return 0, nil
	}
	for letter, err := range all.read(ctx) {
		if err != nil {
			return applied, fmt.Errorf("%s: %w", action.name, err)
		}
		if !choose(letter.DeadLetter) {
			continue
		}
		done, err := action.do(letter.in, ctx, letter.ID)
		if err != nil {
			return applied, deadLettersError(action.name, topic, err)
		}
		if done {
			applied++
		}
		if applied == limit {
			break
		}
	}
	return applied, nil
}

func applyByID(ctx context.Context, client redis.UniversalClient, topic string, action action, ids []string) (applied int, err error) {
	for _, id := range ids {
		if !stream.ValidID(id) {
			return 0, deadLettersError(action.name, topic, fmt.Errorf("%q is not an entry's ID", id))
		}
	}
	all, err := deadLettersOf(ctx, client, topic, action.rights)
	if err != nil {
		return 0, deadLettersError(action.name, topic, err)
	}
	for _, id := range ids {
		in, err := all.holding(ctx, id)
		done := false
		if err == nil {
			done, err = action.do(in, ctx, id)
		}
		if err != nil {
			return applied, deadLettersError(action.name, topic, err)
		}
		if done {
			applied++
		}
	}
	return applied, nil
}

func deadLettersError(doing, topic string, err error) error {
	return fmt.Errorf("%s dead letters of %q: %w", doing, topic, stream.Redact(err))
}

func readDeadLetter(letter stream.Stored) DeadLetter {
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
	read.Reason, read.Error = about[DeadLetterReasonKey], about[DeadLetterErrorKey]
	read.Stream, read.EntryID = about[DeadLetterStreamKey], about[DeadLetterIDKey]
	read.Group, read.Consumer = about[DeadLetterGroupKey], about[DeadLetterConsumerKey]
	read.Deliveries, _ = strconv.ParseInt(about[DeadLetterDeliveriesKey], 10, 64) // zero: others may write dead letters, too
	read.Time, _ = time.Parse(time.RFC3339Nano, about[DeadLetterTimeKey])
	return read
}
