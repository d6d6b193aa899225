package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Info is what the server says of a stream as a whole.
type Info struct {
	Added  int64  // entries that were ever added; 0: none, or unknown
	Length int64  // entries that are there
	First  string // the oldest entry; empty: none
	Last   string // the newest ID ever, be its entry there or not; empty: unknown
	Cost   int    // bytes that the answer took
}

// infoTimeout is how much longer than usual the answer may take: it holds two entries, where any read can be content with one.
const infoTimeout = 5 * time.Second

// info asks for the stream's info (XINFO STREAM); a stream that does not exist is an empty one. The answer holds the first
// and the last entry whole. A script would not spare the server that: it would copy both.
func (c *privateConn) info(ctx context.Context) (e Info, err error) {
	err = c.onPrivate(ctx, infoTimeout, func(ctx context.Context, client privateClient) error {
		info, err := client.WithTimeout(client.Options().ReadTimeout+infoTimeout).XInfoStream(ctx, c.key).Result()
		if err != nil {
			return err
		}
		e = infoOf(info)
		return nil
	})
	if isNoKey(err) {
		return Info{Last: "0-0"}, nil
	}
	return e, err
}

func infoOf(info *redis.XInfoStream) Info {
	return Info{
		Added: info.EntriesAdded, Length: info.Length, First: info.FirstEntry.ID, Last: info.LastGeneratedID,
		Cost: sizeOf(info.FirstEntry) + sizeOf(info.LastEntry),
	}
}

// sizeOf returns how many bytes the fields of an entry take.
func sizeOf(m redis.XMessage) (size int) {
	for name, value := range m.Values {
		text, _ := value.(string)
		size += len(name) + len(text)
	}
	return size
}

const (
	// infoRate is how many bytes a second looks at the info may take, on average.
	infoRate = 64 << 10
	// InfoRetry is how long to leave it be after it failed: the entries may be too large for the link.
	InfoRetry = time.Minute
)

// infoSchedule spreads looks at the info: with large entries they are rare. The zero value allows the first at once.
type infoSchedule struct{ next time.Time }

func (s *infoSchedule) due() bool { return !time.Now().Before(s.next) }

// ask asks for the info and sets when the next look is due: not before pause, and later where it took many bytes.
func (s *infoSchedule) ask(ctx context.Context, conn *privateConn, pause time.Duration) (Info, error) {
	s.next = time.Now().Add(InfoRetry)
	info, err := conn.info(ctx)
	if err == nil {
		s.next = time.Now().Add(max(pause, info.Pause()))
	}
	return info, err
}

// Pause is how long to wait at least before the info is asked for again: long where the entries are large.
func (e Info) Pause() time.Duration { return time.Duration(e.Cost) * time.Second / infoRate }

// Info asks for the stream's info; see privateConn.info.
func (g *Group) Info(ctx context.Context) (Info, error) { return g.info(ctx) }
