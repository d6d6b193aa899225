package stream

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/busypoll"
	"github.com/redis/go-redis/v9"
)

// Group is one consumer of a consumer group on one stream.
type Group struct {
	readConn
	shared              sharedClient
	key, name, consumer string
	// NoAck reads with NOACK: what is delivered counts as acknowledged.
	NoAck bool

	limited bool   // the server can limit the bytes of a reply
	delayed string // the stream's delayed messages, which GroupInfo looks for; empty: it does not
	retries retryQueue
	pause   string // the key that pauses the group; empty: the user may not look at it
	paused  bool   // it existed when the server said so last; the reader's goroutine uses it
	members string // the hash of the group's member records; empty: the user may not write there
	fence   *fence // nil: other consumers of the group work beside this one
}

// NewGroup returns a consumer of the group name on the stream key.
func NewGroup(client redis.UniversalClient, key, name, consumer string) *Group {
	return &Group{
		readConn: newPrivateConn(client, key), shared: sharedClient{client}, key: key, name: name, consumer: consumer,
		retries: retryQueue{client: client, consumer: consumer},
	}
}

// CreateGroup creates the group, and the stream if it is missing; start is where the group begins.
// A group that exists is left as it is. If the server accepts no writes at present, a read tells
// whether the group exists.
func CreateGroup(ctx context.Context, client redis.UniversalClient, key, group, start string) error {
	err := createGroupScript.Run(ctx, client, []string{key}, group, start).Err()
	if redis.HasErrorPrefix(err, "BUSYGROUP") || takesNoWrites(err) && hasGroup(ctx, client, key, group) {
		return nil
	}
	return err
}

// takesNoWrites reports whether the server refused a write because its memory is full, it has too
// few replicas, or it can't save.
func takesNoWrites(err error) bool {
	return redis.IsOOMError(err) || redis.HasErrorPrefix(err, "NOREPLICAS") || redis.HasErrorPrefix(err, "MISCONF")
}

// hasGroup asks for the pending entries of the group: every consumer has the right to do that.
func hasGroup(ctx context.Context, client redis.Cmdable, key, group string) bool {
	return client.XPending(ctx, key, group).Err() == nil
}

// Join creates the group, as CreateGroup does, and the consumer in it: Recreate recognizes the
// group by it. If the server accepts no writes, the consumer's first read creates it.
func (g *Group) Join(ctx context.Context, start string) error {
	if err := CreateGroup(ctx, g.shared.UniversalClient, g.key, g.name, start); err != nil {
		return err
	}
	err := g.shared.XGroupCreateConsumer(ctx, g.key, g.name, g.consumer).Err()
	if takesNoWrites(err) {
		return nil
	}
	return err
}

// Read returns new entries. It waits for the first one for block, which is rounded up to a
// millisecond. No entries and no error: none came in time.
//
// ErrTooLarge: the reply exceeds the limit, and its entries are pending for this consumer. With
// NoAck they would be lost, so then only a server that knows MAXSIZE limits the bytes.
func (g *Group) Read(ctx context.Context, limit Limit, block time.Duration) ([]Entry, error) {
	return g.await(ctx, atLeastAMillisecond(block), func(block time.Duration) ([]Entry, error) {
		return g.readWith(ctx, limit, block, readGroup)
	})
}

// ReadAndLook is Read, and tells whether the group was paused when the entries came, or when none
// had come in time (EXISTS, in one pipeline: the server runs it when the read blocks no longer). So
// the read may block for longer than the group may be paused without our knowledge. It needs a
// connection of its own.
func (g *Group) ReadAndLook(ctx context.Context, limit Limit, block time.Duration) (entries []Entry, paused bool, err error) {
	if g.pause == "" {
		entries, err = g.Read(ctx, limit, block)
		return entries, false, err
	}
	var look *redis.IntCmd
	entries, err = g.readWith(ctx, limit, atLeastAMillisecond(block), func(
		ctx context.Context, c redis.Cmdable, args *redis.XReadGroupArgs,
	) *redis.XStreamSliceCmd {
		pipe := c.Pipeline()
		read := pipe.XReadGroup(ctx, args)
		look = pipe.Exists(ctx, g.pause)
		_, _ = pipe.Exec(ctx) // its error is one of the commands
		return read
	})
	if err != nil {
		return nil, false, err
	}
	if paused, err = g.sawPause(look); err != nil && len(entries) > 0 {
		return entries, true, nil // the connection was cut in between; the next look finds out
	}
	return entries, paused, err
}

// readGroupCommand runs XREADGROUP, or queues it in a pipeline.
type readGroupCommand func(ctx context.Context, c redis.Cmdable, args *redis.XReadGroupArgs) *redis.XStreamSliceCmd

func (g *Group) readWith(ctx context.Context, limit Limit, block time.Duration, run readGroupCommand) ([]Entry, error) {
	args := &redis.XReadGroupArgs{
		Group: g.name, Consumer: g.consumer, Streams: []string{g.key, ">"},
		Count: int64(limit.Count), Block: block, NoAck: g.NoAck,
	}
	if g.limited && limit.Count > 1 {
		args.MaxSize = max(int64(limit.Bytes), 1)
	}
	entries, err := g.read(ctx, args, limit, run)
	if args.MaxSize > 0 && redis.HasErrorPrefix(err, "syntax error") {
		g.limited = false // an older server has taken over
		return g.readWith(ctx, limit, block, run)
	}
	return entries, err
}

func (g *Group) read(ctx context.Context, args *redis.XReadGroupArgs, limit Limit, run readGroupCommand) ([]Entry, error) {
	if !g.NoAck {
		g.limitReply(limit)
		defer g.limitReply(Limit{})
	}
	return g.readEntries(ctx, max(args.Block, 0), func(ctx context.Context, c redis.Cmdable) *redis.XStreamSliceCmd {
		return run(ctx, c, args)
	})
}

func readGroup(ctx context.Context, c redis.Cmdable, args *redis.XReadGroupArgs) *redis.XStreamSliceCmd {
	return c.XReadGroup(ctx, args)
}

// A Block of less than a millisecond would be sent as 0, which is for ever.
func atLeastAMillisecond(d time.Duration) time.Duration { return max(d, time.Millisecond) }

var errNoGroup error = ownError("NOGROUP the consumer group does not exist")

// Ack acknowledges the entries (XACK, for an owner of the stream in a script). IDs that are not
// pending are ignored. Entries that were taken from the retry queue are removed from it, too.
func (g *Group) Ack(ctx context.Context, ids []string) error {
	if queued := g.retries.among(ids); len(queued) > 0 {
		if _, err := g.retries.settle(ctx, acknowledge, queued); err != nil {
			return err
		}
	}
	ctx = busypoll.Patient(ctx)
	if g.fence == nil {
		return g.shared.XAck(ctx, g.key, g.name, ids...).Err()
	}
	args := make([]any, 0, 1+len(ids))
	args = append(args, g.name)
	for _, id := range ids {
		args = append(args, id)
	}
	return g.fence.run(ctx, g.shared, ackScript, []string{g.key}, args).Err()
}
