package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Info describes a stream as a whole.
type Info struct {
	Added  int64  // how many entries were ever added; 0: none, or unknown
	Length int64  // how many entries it has
	First  string // the oldest entry; empty: none
	Last   string // the newest ID that it ever had; empty: unknown
	Cost   int    // bytes of the reply
}

// infoTimeout is how much longer than usual the reply may take: it has two entries, and a read may
// ask for only one.
const infoTimeout = 5 * time.Second

// infoOn returns the stream's Info (XINFO STREAM). A stream that does not exist is an empty one. The
// reply has the first and the last entry in full. A script would not help: it would copy both too.
func infoOn(ctx context.Context, conn readConn, key string) (e Info, err error) {
	err = conn.onPrivate(ctx, infoTimeout, func(ctx context.Context, client privateClient) error {
		info, err := client.WithTimeout(client.Options().ReadTimeout+infoTimeout).XInfoStream(ctx, key).Result()
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
	// infoRate is how many bytes a second such replies may take on average.
	infoRate = 64 << 10
	// InfoRetry is the pause after a failure: the entries may be too large for the link.
	InfoRetry = time.Minute
)

// infoSchedule makes checks rare if entries are large. The zero value allows the first at once.
type infoSchedule struct{ next time.Time }

func (s *infoSchedule) due() bool { return !time.Now().Before(s.next) }

// ask returns the Info, and sets when the next check is due: not before pause, and later if the
// reply was large.
func (s *infoSchedule) ask(ctx context.Context, conn readConn, key string, pause time.Duration) (Info, error) {
	s.next = time.Now().Add(InfoRetry)
	info, err := infoOn(ctx, conn, key)
	if err == nil {
		s.next = time.Now().Add(max(pause, info.Pause()))
	}
	return info, err
}

// Pause is the shortest pause before the next request for the Info. It is long where entries are
// large.
func (e Info) Pause() time.Duration { return time.Duration(e.Cost) * time.Second / infoRate }

// Info returns the stream's Info.
func (g *Group) Info(ctx context.Context) (Info, error) { return infoOn(ctx, g.readConn, g.key) }
