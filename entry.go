package redisstream

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Entry identifies the stream entry from which a Subscriber made a message.
type Entry struct {
	Stream   string // the topic; with Partitions the stream of one of them: see ParsePartitionTopic
	ID       string // the entry's ID in the stream
	Group    string // the consumer group; empty in a fan-out
	Consumer string // the consumer that has the entry; empty in a fan-out
	// Deliveries counts the deliveries of the entry, this one included: in a group those to all of
	// its consumers, in a fan-out those of the subscription.
	Deliveries int64
	// Generation is that of the active consumer of the stream, with SubscriberConfig.Exclusive or
	// Partitions: it rises each time that a consumer becomes the active one, so it tells which of two
	// handlers is the later one (a fencing token). 0: the members share the entries.
	Generation int64
}

type entryKey struct{}

// EntryFromContext returns the entry of the message that carries ctx. The context of each message
// that a Subscriber delivers has one, and so has a context derived from it.
func EntryFromContext(ctx context.Context) (Entry, bool) {
	entry, ok := ctx.Value(entryKey{}).(*Entry)
	if !ok {
		return Entry{}, false
	}
	return *entry, true
}

// ContextWithEntry returns a copy of ctx from which EntryFromContext returns entry. It is for unit
// tests of handlers: give it to a message as Subscriber does.
//
//	msg := message.NewMessage("1", []byte("coffee"))
//	msg.SetContext(redisstream.ContextWithEntry(ctx, redisstream.Entry{Stream: "orders", Deliveries: 3}))
//
// NackWithReason and RecordError record errors in it, and RecordedError returns them. RecordedRetry
// returns what RetryAfter recorded.
func ContextWithEntry(ctx context.Context, entry Entry) context.Context {
	if ctx.Value(decisionKey{}) != nil { // a delivery's context: what its handler decides is still recorded there
		return context.WithValue(ctx, entryKey{}, &entry)
	}
	return &entryContext{Context: ctx, common: &delivered{Entry: entry}, id: entry.ID, deliveries: entry.Deliveries}
}

// delivered is what all deliveries of a subscription share.
type delivered struct {
	Entry

	client redis.UniversalClient // for Commit; nil: a unit test made the context
}

type deliveryKey struct{}

// entryContext is the context of one delivery. It holds both values, so that a delivery costs one
// allocation.
type entryContext struct {
	context.Context            //nolint:containedctx // it is a context
	common          *delivered // what all deliveries of the subscription share
	id              string
	deliveries      int64
	decision        decision
}

func (c *entryContext) Value(key any) any {
	switch key {
	case entryKey{}:
		entry := c.common.Entry
		entry.ID, entry.Deliveries = c.id, c.deliveries
		return &entry
	case decisionKey{}:
		return &c.decision
	case deliveryKey{}:
		return c
	}
	return c.Context.Value(key)
}
