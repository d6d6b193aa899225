package stream

import (
	"cmp"
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// DelayedEntry is one delayed message.
type DelayedEntry struct {
	ID     string
	Due    time.Time // by the server's clock
	Fields []string  // name, value, name, value
	member string
	score  float64
}

// after reports whether e comes after another entry in the sorted set.
func (e DelayedEntry) after(other DelayedEntry) bool {
	return cmp.Or(cmp.Compare(e.score, other.score), strings.Compare(e.member, other.member)) > 0
}

// delayedPage is how many delayed messages are read at a time.
const delayedPage = 100

// DelayedPages reads the delayed messages of a stream in pages, in the order in which they are due.
// An entry that stays where it is comes exactly once, whatever comes and goes meanwhile. So a page
// begins after an entry and not at a rank: ranks change with each entry that comes or goes.
type DelayedPages struct {
	client redis.UniversalClient
	key    string
	last   DelayedEntry // of the pages so far
	// same is how many entries with the score of last are not after it. Others may have changed
	// that since.
	same  int64
	until string // the highest score at the beginning, so that entries that are added then are no endless work
}

// Pages returns the pages from the first on.
func (d *Delayed) Pages() *DelayedPages {
	return &DelayedPages{client: d.client, key: d.keys[0], last: DelayedEntry{score: math.Inf(-1)}}
}

// Next returns the next page. It is empty at the end.
func (p *DelayedPages) Next(ctx context.Context) ([]DelayedEntry, error) {
	if p.until == "" {
		newest, err := p.read(ctx, redis.ZRangeArgs{Start: 0, Stop: 0, Rev: true})
		if err != nil || len(newest) == 0 {
			return nil, err
		}
		p.until = scoreText(newest[0].score)
	}
	for {
		// It begins with an entry of the pages before, as a proof that none was left out.
		offset := max(p.same-1, 0)
		page, err := p.read(ctx, redis.ZRangeArgs{
			Start: scoreText(p.last.score), Stop: p.until, ByScore: true, Offset: offset, Count: delayedPage,
		})
		if err != nil {
			return nil, err
		}
		if offset > 0 && (len(page) == 0 || page[0].after(p.last)) {
			p.same = 0 // others removed entries with this score
			continue
		}
		fresh := p.advance(page, offset)
		if len(fresh) > 0 || len(page) < delayedPage {
			return fresh, nil
		}
	}
}

// advance makes a page the last one, and returns those of its entries that no page before had.
func (p *DelayedPages) advance(page []DelayedEntry, offset int64) (fresh []DelayedEntry) {
	for len(page) > 0 && !page[0].after(p.last) {
		page, offset = page[1:], offset+1
	}
	p.same = offset
	for _, e := range page {
		if e.score != p.last.score {
			p.same = 0
		}
		p.same++
		p.last = e
	}
	return page
}

func (p *DelayedPages) read(ctx context.Context, args redis.ZRangeArgs) (page []DelayedEntry, err error) {
	args.Key = p.key
	rows, err := p.client.ZRangeArgsWithScores(ctx, args).Result()
	for _, row := range rows {
		member, _ := row.Member.(string)
		entry := DelayedEntry{Due: time.UnixMilli(int64(row.Score)), member: member, score: row.Score}
		if texts := textsOf(member); len(texts) >= 3 {
			entry.ID, entry.Fields = texts[0], texts[3:]
		}
		page = append(page, entry)
	}
	return page, err
}

func scoreText(score float64) string { return strconv.FormatFloat(score, 'f', -1, 64) }

// textsOf splits a member of the set.
func textsOf(member string) (texts []string) {
	for member != "" {
		length, rest, found := strings.Cut(member, ":")
		n, err := strconv.Atoi(length)
		if !found || err != nil || n < 0 || n > len(rest) {
			return nil
		}
		texts, member = append(texts, rest[:n]), rest[n:]
	}
	return texts
}

// Drop deletes an entry of the last page (ZREM). It reports whether it was still there.
func (p *DelayedPages) Drop(ctx context.Context, e DelayedEntry) (bool, error) {
	p.gone(e)
	n, err := p.client.ZRem(ctx, p.key, e.member).Result()
	return n > 0, err
}

// MakeDue makes an entry of the last page due now (ZADD XX CH). It reports whether it was still
// there.
func (p *DelayedPages) MakeDue(ctx context.Context, e DelayedEntry) (bool, error) {
	p.gone(e)
	n, err := p.client.ZAddArgs(ctx, p.key, redis.ZAddArgs{XX: true, Ch: true, Members: []redis.Z{{Score: 0, Member: e.member}}}).Result()
	return n > 0, err
}

// gone counts an entry that leaves its place. To count one that stays costs only a longer look.
func (p *DelayedPages) gone(e DelayedEntry) {
	if e.score == p.last.score {
		p.same = max(p.same-1, 0)
	}
}
