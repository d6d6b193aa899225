package stream

import (
	"context"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
)

// The bounds of a page of dead letters. A single dead letter may have more bytes.
const (
	maxPageEntries = 100
	maxPageBytes   = 1 << 20
)

// DeadLetter is an entry of a dead-letter stream.
type DeadLetter struct {
	ID     string
	Fields []any // name, value, name, value: strings in their order, with duplicates
}

type deadLetterPage struct {
	last, next string
	entries    []DeadLetter
}

// readDeadLetters returns the first page of what a stream has between two IDs.
func readDeadLetters(ctx context.Context, client redis.Scripter, key, from, last string) (r deadLetterPage, err error) {
	reply, err := deadLettersScript.Run(ctx, client, []string{key}, from, last, maxPageEntries, maxPageBytes).Slice()
	if err != nil {
		return r, err
	}
	if len(reply) != 3 {
		return r, fmt.Errorf("dead_letters script: %d elements in its reply", len(reply))
	}
	r.last, _ = reply[0].(string)
	r.next, _ = reply[1].(string)
	entries, _ := reply[2].([]any)
	for _, element := range entries {
		pair, _ := element.([]any)
		if len(pair) != 2 {
			return r, fmt.Errorf("dead_letters script: %d elements in an entry", len(pair))
		}
		var deadLetter DeadLetter
		deadLetter.ID, _ = pair[0].(string)
		deadLetter.Fields, _ = pair[1].([]any)
		r.entries = append(r.entries, deadLetter)
	}
	return r, nil
}

// Get returns a dead letter.
func (l *DeadLetters) Get(ctx context.Context, id string) (letter DeadLetter, found bool, err error) {
	page, err := readDeadLetters(ctx, l.client, l.from, id, id)
	if err != nil || len(page.entries) == 0 {
		return DeadLetter{}, false, err
	}
	return page.entries[0], true, nil
}

// All iterates over the dead letters that exist when it begins, the oldest first, including those
// of other streams.
func (l *DeadLetters) All(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		page := deadLetterPage{next: "-"}
		for page.next != "" {
			var err error
			if page, err = readDeadLetters(ctx, l.client, l.from, page.next, page.last); err != nil {
				yield(DeadLetter{}, err)
				return
			}
			for _, deadLetter := range page.entries {
				if !yield(deadLetter, nil) {
					return
				}
			}
		}
	}
}
