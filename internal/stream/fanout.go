package stream

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Fanout reads a stream without a group: every Fanout sees every entry.
type Fanout struct {
	readConn
	shared sharedClient
	key    string

	last string // the newest entry that was read, or where reading begins

	// WentBack is called when reading continues from an earlier ID, because the stream lost its
	// end.
	WentBack func(from, to string)
	// Missed is called when n entries were trimmed or deleted before they were read.
	Missed func(n int64)

	reached   bool // the stream has had an ID that is not below last
	unsure    bool // the connection is new, so the stream may be another one
	seen      seen
	schedule  infoSchedule
	regularly time.Time // when the next check is due while there is always something to read
	count     int64     // entries ever added up to last; below 0: unknown
}

// NewFanout returns a reader of the stream key that begins just after the ID start; "$" is the
// newest ID.
func NewFanout(ctx context.Context, client redis.UniversalClient, key, start string) (*Fanout, error) {
	f := &Fanout{
		readConn: newPrivateConn(client, key), shared: sharedClient{client}, key: key, last: start, count: -1,
		WentBack: func(string, string) {}, Missed: func(int64) {},
	}
	info, err := infoOnShared(ctx, f.shared, key)
	if _, refused := errors.AsType[redis.Error](err); err != nil && (start == "$" || refused) {
		return nil, err
	}
	if start == "$" {
		f.last = info.Last
	}
	if err == nil {
		f.settle(info)
	}
	return f, nil
}

func infoOnShared(ctx context.Context, client sharedClient, key string) (Info, error) {
	info, err := client.XInfoStream(ctx, key).Result()
	if isNoKey(err) {
		return Info{Last: "0-0"}, nil
	}
	if err != nil {
		return Info{}, err
	}
	return infoOf(info), nil
}

// Read returns entries after the last one that was read; see Group.Read. After ErrTooLarge they
// come again.
func (f *Fanout) Read(ctx context.Context, limit Limit, block time.Duration) ([]Entry, error) {
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	f.limitReply(limit)
	defer f.limitReply(Limit{})
	entries, err := f.await(ctx, atLeastAMillisecond(block), func(block time.Duration) ([]Entry, error) {
		return f.readFrom(ctx, f.last, limit.Count, block)
	})
	if err != nil {
		return nil, err
	}
	if f.wasRenewed() { // the entries come again if it is still the same stream
		f.unsure = true
		return nil, nil
	}
	if len(entries) == 0 {
		f.regularly = time.Time{} // DEL and FLUSHALL don't end a blocked XREAD
		return nil, nil
	}
	f.last, f.reached = entries[len(entries)-1].ID, true
	f.seen.add(entries)
	if f.count >= 0 {
		f.count += int64(len(entries))
	}
	return entries, nil
}

func (f *Fanout) readFrom(ctx context.Context, id string, count int, block time.Duration) ([]Entry, error) {
	return f.readEntries(ctx, max(block, 0), func(ctx context.Context, c redis.Cmdable) *redis.XStreamSliceCmd {
		return c.XRead(ctx, &redis.XReadArgs{Streams: []string{f.key, id}, Count: int64(count), Block: block})
	})
}

// Reset prepares the next read after an error. The next one may lead to another server.
func (f *Fanout) Reset(ctx context.Context) {
	f.readConn.Reset(ctx)
	f.unsure = true
}
