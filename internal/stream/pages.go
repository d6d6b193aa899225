package stream

import (
	"context"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
)

// The bounds of a page of a stream. A single entry may have more bytes.
const (
	maxPageEntries = 100
	maxPageBytes   = 1 << 20
)

// The bounds of a page of a search: the server reads as many entries, names and values, and returns
// few of them.
const (
	searchEntries = 250
	searchTexts   = 2500
)

// Stored is an entry as it is in a stream.
type Stored struct {
	ID     string
	Fields []any // name, value, name, value: strings in their order, with duplicates
}

// Span selects entries of a stream. "(" before an ID leaves that one out.
type Span struct {
	From    string // where it begins
	To      string // where it ends; empty: at the newest entry of the first page
	Reverse bool   // the newest first: From is the newest ID
	Match   Match  // which ones; they are searched on the server
}

// Match selects entries that may have a text: other ones may come, too. The zero value selects all.
type Match struct {
	Text string // a value of a field, or the ID of the entry
	JSON string // a field with a JSON document that may have the text within; empty: none
}

type page struct {
	last, next string
	entries    []Stored
}

// readPage returns the first page of a span.
func readPage(ctx context.Context, client redis.Scripter, key string, span Span) (p page, err error) {
	read := "XRANGE"
	if span.Reverse {
		read = "XREVRANGE"
	}
	script, args := pageScript, []any{span.From, span.To, maxPageEntries, maxPageBytes, read}
	if match := span.Match; match.Text != "" {
		script, args = searchScript, []any{span.From, span.To, searchEntries, maxPageBytes, read, searchTexts, match.Text, match.JSON}
	}
	reply, err := script.Run(ctx, client, []string{key}, args...).Slice()
	if err != nil {
		return p, err
	}
	if len(reply) != 3 {
		return p, fmt.Errorf("page script: %d elements in its reply", len(reply))
	}
	p.last, _ = reply[0].(string)
	p.next, _ = reply[1].(string)
	entries, _ := reply[2].([]any)
	for _, element := range entries {
		pair, _ := element.([]any)
		if len(pair) != 2 {
			return p, fmt.Errorf("page script: %d elements in an entry", len(pair))
		}
		var entry Stored
		entry.ID, _ = pair[0].(string)
		entry.Fields, _ = pair[1].([]any)
		p.entries = append(p.entries, entry)
	}
	return p, nil
}

// ReadEntry returns an entry of a stream.
func ReadEntry(ctx context.Context, client redis.Scripter, key, id string) (entry Stored, found bool, err error) {
	p, err := readPage(ctx, client, key, Span{From: id, To: id})
	if err != nil || len(p.entries) == 0 {
		return Stored{}, false, err
	}
	return p.entries[0], true, nil
}

// ReadEntries iterates over the entries of a span, page by page.
func ReadEntries(ctx context.Context, client redis.Scripter, key string, span Span) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		for span.From != "" {
			p, err := readPage(ctx, client, key, span)
			if err != nil {
				yield(Stored{}, err)
				return
			}
			for _, entry := range p.entries {
				if !yield(entry, nil) {
					return
				}
			}
			span.From, span.To = p.next, p.last
		}
	}
}
