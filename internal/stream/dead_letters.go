package stream

import (
	"context"
	_ "embed"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/letters.lua
	lettersSource string
	lettersScript = redis.NewScript(lettersSource)
)

// What one page of letters holds at most; one letter may have more bytes.
const (
	lettersPage  = 100
	lettersBytes = 1 << 20
)

// DeadLetter is an entry of a dead-letter stream.
type DeadLetter struct {
	ID     string
	Fields []any // name, value, name, value: strings, in the order and as often as they are in the stream
}

type lettersReply struct {
	last, next string
	letters    []DeadLetter
}

// readLetters returns what a stream has between two IDs, or the first part of it.
func readLetters(ctx context.Context, client redis.Scripter, key, from, last string) (r lettersReply, err error) {
	reply, err := lettersScript.Run(ctx, client, []string{key}, from, last, lettersPage, lettersBytes).Slice()
	if err != nil {
		return r, err
	}
	if len(reply) != 3 {
		return r, fmt.Errorf("letters script: %d elements in its reply", len(reply))
	}
	r.last, _ = reply[0].(string)
	r.next, _ = reply[1].(string)
	entries, _ := reply[2].([]any)
	for _, element := range entries {
		pair, _ := element.([]any)
		if len(pair) != 2 {
			return r, fmt.Errorf("letters script: %d elements in an entry", len(pair))
		}
		var letter DeadLetter
		letter.ID, _ = pair[0].(string)
		letter.Fields, _ = pair[1].([]any)
		r.letters = append(r.letters, letter)
	}
	return r, nil
}

// All returns the letters that are there when it begins, the oldest first, also those that came from other streams.
func (l *DeadLetters) All(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		page := lettersReply{next: "-"}
		for page.next != "" {
			var err error
			if page, err = readLetters(ctx, l.client, l.from, page.next, page.last); err != nil {
				yield(DeadLetter{}, err)
				return
			}
			for _, letter := range page.letters {
				if !yield(letter, nil) {
					return
				}
			}
		}
	}
}
