package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Group is one consumer of a consumer group on one stream.
type Group struct {
	*Conn
	key, name, consumer string
	// NoAck reads with NOACK: what is handed out counts as acknowledged.
	NoAck bool
}

// NewGroup returns a consumer of the group name on the stream key.
func NewGroup(client redis.UniversalClient, key, name, consumer string) *Group {
	return &Group{Conn: NewConn(client, key), key: key, name: name, consumer: consumer}
}

// CreateGroup creates the group, and the stream when it is missing; start is where the group
// begins. A group that exists is left as it is.
func CreateGroup(ctx context.Context, client redis.Scripter, key, group, start string) error {
	err := createGroupScript.Run(ctx, client, []string{key}, group, start).Err()
	if redis.HasErrorPrefix(err, "BUSYGROUP") {
		return nil
	}
	return err
}

// Join creates the group, as CreateGroup does, and the consumer in it: Recreate knows the group by it.
func (g *Group) Join(ctx context.Context, start string) error {
	if err := CreateGroup(ctx, g.shared, g.key, g.name, start); err != nil {
		return err
	}
	return g.shared.XGroupCreateConsumer(ctx, g.key, g.name, g.consumer).Err()
}

// Read hands out up to count new entries; it waits for the first for at most block, which is
// rounded up to a millisecond. No entries and no error: none came.
func (g *Group) Read(ctx context.Context, count int, block time.Duration) ([]Entry, error) {
	block = atLeastAMillisecond(block)
	var streams []redis.XStream
	err := g.do(ctx, block, func(ctx context.Context, c *redis.Client) (err error) {
		streams, err = c.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: g.name, Consumer: g.consumer, Streams: []string{g.key, ">"},
			Count: int64(count), Block: block, NoAck: g.NoAck,
		}).Result()
		return err
	})
	if err != nil && !noneWaiting(err) {
		return nil, err
	}
	return fresh(streams), nil
}

// A Block of less than a millisecond would be sent as 0, which is for ever.
func atLeastAMillisecond(d time.Duration) time.Duration { return max(d, time.Millisecond) }

var errNoGroup error = ownError("NOGROUP the consumer group does not exist")

// Ack acknowledges the entries (XACK). IDs that are not pending are ignored.
func (g *Group) Ack(ctx context.Context, ids []string) error {
	return g.shared.XAck(ctx, g.key, g.name, ids...).Err()
}
