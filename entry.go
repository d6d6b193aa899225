package redisstream

import "context"

// Entry says where a message that a Subscriber delivered comes from.
type Entry struct {
	Stream   string // the topic
	ID       string // the ID that the server gave to the entry
	Group    string // empty: fan-out
	Consumer string // empty: fan-out
	// Deliveries counts how often the entry was delivered, this time included, by whatever consumer of the
	// group; in a fan-out by this subscription.
	Deliveries int64
}

type entryKey struct{}

// EntryFromContext returns the entry of the message that carries ctx: the context of a message that
// a Subscriber delivered, or one derived from it.
func EntryFromContext(ctx context.Context) (Entry, bool) {
	entry, ok := ctx.Value(entryKey{}).(*Entry)
	if !ok {
		return Entry{}, false
	}
	return *entry, true
}

// entryContext is the context of one delivery: two values for one allocation.
type entryContext struct {
	context.Context //nolint:containedctx // it is a context
	entry           Entry
	failure         failure
}

func (c *entryContext) Value(key any) any {
	switch key {
	case entryKey{}:
		return &c.entry
	case failureKey{}:
		return &c.failure
	}
	return c.Context.Value(key)
}
