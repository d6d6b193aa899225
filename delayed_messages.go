package redisstream

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// DelayedMessage is a message that is not due yet, as DelayedMessages returns it.
type DelayedMessage struct {
	ID     string    // its ID among the delayed messages of the topic
	Stream string    // the stream that gets it: the topic, or one of its partitions
	Due    time.Time // by the server's clock
	// Fields are the fields of its entry, as a Marshaler returned them. Values are strings.
	Fields map[string]any
}

// DelayedMessages iterates over the delayed messages of topic, in the order in which they are due
// (ZRANGE in pages of 100). What is scheduled, moved or dropped meanwhile may be missing; all others
// come once. After an error the iteration ends. If the topic has partitions (GET), those of all
// partitions come.
func DelayedMessages(ctx context.Context, client redis.UniversalClient, topic string) iter.Seq2[DelayedMessage, error] {
	read := func(name string) iter.Seq2[DelayedMessage, error] { return delayedIn(ctx, client, name) }
	sooner := func(a, b DelayedMessage) bool { return a.Due.Before(b.Due) }
	return func(yield func(DelayedMessage, error) bool) {
		all, err := inAllStreams(ctx, client, topic, read, sooner)
		if err != nil {
			yield(DelayedMessage{}, delayedError("read", topic, err))
			return
		}
		all(yield)
	}
}

// delayedIn is DelayedMessages of one stream.
func delayedIn(ctx context.Context, client redis.UniversalClient, topic string) iter.Seq2[DelayedMessage, error] {
	return func(yield func(DelayedMessage, error) bool) {
		pages := delayedOf(client, topic).Pages()
		for {
			page, err := pages.Next(ctx)
			if err != nil {
				yield(DelayedMessage{}, delayedError("read", topic, err))
				return
			}
			for _, entry := range page {
				if !yield(readDelayed(topic, entry), nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

// DropDelayedMessages deletes the delayed messages of topic for which choose returns true (ZREM), as
// it reads them. It returns how many it deleted, also with an error. If the topic has partitions, it
// looks at one after the other.
func DropDelayedMessages(ctx context.Context, client redis.UniversalClient, topic string, choose func(DelayedMessage) bool) (int, error) {
	return onEachStream(ctx, client, topic, func(name string) (int, error) {
		return applyToDelayed(ctx, client, name, "drop", choose, (*stream.DelayedPages).Drop)
	})
}

// DeliverDelayedMessages makes the delayed messages of topic due for which choose returns true
// (ZADD), as it reads them, and moves what is due to the topic. It returns how many it made due,
// also with an error. If the topic has partitions, it looks at one after the other.
func DeliverDelayedMessages(ctx context.Context, client redis.UniversalClient, topic string, choose func(DelayedMessage) bool) (int, error) {
	return onEachStream(ctx, client, topic, func(name string) (int, error) { return deliverDelayed(ctx, client, name, choose) })
}

// deliverDelayed is DeliverDelayedMessages of one stream.
func deliverDelayed(ctx context.Context, client redis.UniversalClient, topic string, choose func(DelayedMessage) bool) (int, error) {
	n, err := applyToDelayed(ctx, client, topic, "deliver", choose, (*stream.DelayedPages).MakeDue)
	if n == 0 {
		return n, err
	}
	for {
		moved, failure := delayedOf(client, topic).Move(ctx)
		if failure != nil {
			return n, delayedError("deliver", topic, failure)
		}
		if !moved.More {
			return n, err
		}
	}
}

// applyToDelayed acts on the chosen messages of each page before it reads the next one.
func applyToDelayed(
	ctx context.Context, client redis.UniversalClient, topic, doing string, choose func(DelayedMessage) bool,
	act func(*stream.DelayedPages, context.Context, stream.DelayedEntry) (bool, error),
) (applied int, err error) {
	pages := delayedOf(client, topic).Pages()
	for {
		page, err := pages.Next(ctx)
		if err != nil {
			return applied, delayedError(doing, topic, err)
		}
		if len(page) == 0 {
			return applied, nil
		}
		for _, entry := range page {
			if !choose(readDelayed(topic, entry)) {
				continue
			}
			done, err := act(pages, ctx, entry)
			if err != nil {
				return applied, delayedError(doing, topic, err)
			}
			if done {
				applied++
			}
		}
	}
}

func delayedOf(client redis.UniversalClient, topic string) *stream.Delayed {
	return stream.NewDelayed(client, DelayedKey(topic), topic)
}

func delayedError(doing, topic string, err error) error {
	return fmt.Errorf("%s delayed messages of %q: %w", doing, topic, stream.Redact(err))
}

func readDelayed(topic string, entry stream.DelayedEntry) DelayedMessage {
	fields := make(map[string]any, len(entry.Fields)/2)
	for i := 0; i+1 < len(entry.Fields); i += 2 {
		fields[entry.Fields[i]] = entry.Fields[i+1]
	}
	return DelayedMessage{ID: entry.ID, Stream: topic, Due: entry.Due, Fields: fields}
}
