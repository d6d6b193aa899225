package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Fanout reads a stream without a group: every Fanout sees every entry.
type Fanout struct {
	*Conn
	last string // the newest entry that was read
}

// NewFanout returns a reader of the stream key that goes on after the ID last.
func NewFanout(client redis.UniversalClient, key, last string) *Fanout {
	return &Fanout{Conn: NewConn(client, key), last: last}
}

// LastID returns the ID that "$" stands for now: "0-0" for a stream that does not exist.
func LastID(ctx context.Context, client redis.Cmdable, key string) (string, error) {
	info, err := client.XInfoStream(ctx, key).Result()
	if isNoKey(err) {
		return "0-0", nil
	}
	if err != nil {
		return "", err
	}
	return info.LastGeneratedID, nil
}

// Read returns entries after the last one read; see Group.Read. After ErrTooLarge they come again.
func (f *Fanout) Read(ctx context.Context, limit Limit, block time.Duration) ([]Entry, error) {
	block = atLeastAMillisecond(block)
	f.limitReply(limit)
	defer f.limitReply(Limit{})
	var streams []redis.XStream
	err := f.do(ctx, block, func(ctx context.Context, c *redis.Client) (err error) {
		streams, err = c.XRead(ctx, &redis.XReadArgs{
			Streams: []string{f.key, f.last}, Count: int64(limit.Count), Block: block,
		}).Result()
		return err
	})
	if err != nil && !noneWaiting(err) {
		return nil, err
	}
	entries := fresh(streams)
	if len(entries) > 0 {
		f.last = entries[len(entries)-1].ID
	}
	return entries, nil
}
