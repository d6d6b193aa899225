package stream

import (
	"context"
	_ "embed"
	"errors"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/dead_letter.lua
	deadLetterSource string
	//go:embed scripts/dead_letter_ack.lua
	deadLetterAckSource string

	deadLetterScript = redis.NewScript(deadLetterSource)
)

// Fate is what became of an entry that was to be dead-lettered.
type Fate int64

// The fates.
const (
	FateTrimmed Fate = -1 // it is no longer in the stream, and acknowledged
	FateLost    Fate = 0  // it belongs to another consumer, or is acknowledged
	FateMoved   Fate = 1  // it is in the dead-letter stream, and acknowledged
)

// GiveUp is the delivery count from which on an entry is to be given up, whatever MaxDeliveries says: XNACK FATAL sets the largest
// count there is.
const GiveUp = 1 << 53

// tooLarge is what scripts return for an entry that has more values than they can pass on.
const tooLarge = -2

// DeadLetters is a stream that takes the dead letters of another.
type DeadLetters struct {
	Stream string
	MaxLen int64 // about how many letters are kept; 0: all
}

// DeadLetter moves an entry that we own to the dead letters, with further fields, and
// acknowledges it, in one step.
func (g *Group) DeadLetter(ctx context.Context, id string, letters DeadLetters, further []any) (Fate, error) {
	args := append([]any{g.name, g.consumer, id, letters.MaxLen}, further...)
	fate, err := deadLetterScript.Run(ctx, g.shared, []string{g.key, letters.Stream}, args...).Int64()
	if err != nil || fate != tooLarge {
		return Fate(fate), err
	}
	return g.deadLetterLarge(ctx, id, letters, further)
}

// deadLetterLarge is DeadLetter for an entry with thousands of fields: it passes through us. The script has renewed its lease, so
// that nobody takes it over in between.
func (g *Group) deadLetterLarge(ctx context.Context, id string, letters DeadLetters, further []any) (Fate, error) {
	if _, err := check(ctx, g.shared, g.key, forTransactions(g.key)); err != nil {
		return FateLost, err
	}
	page, err := readLetters(ctx, g.shared, g.key, id, id)
	if err != nil {
		return FateLost, err
	}
	if len(page.letters) == 0 {
		return FateTrimmed, g.Ack(ctx, []string{id})
	}
	args := []any{"xadd", letters.Stream}
	if letters.MaxLen > 0 {
		args = append(args, "maxlen", "~", letters.MaxLen)
	}
	args = append(append(append(args, "*"), page.letters[0].Fields...), further...)
	add := once{redis.NewStringCmd(ctx, args...)}
	ack := redis.NewCmd(ctx, append([]any{"eval", deadLetterAckSource, 2, g.key, letters.Stream, g.name, g.consumer, id}, further...)...)
	_, err = g.shared.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		return errors.Join(pipe.Process(ctx, add), pipe.Process(ctx, ack)) // only queues them
	})
	if err != nil {
		return FateLost, err
	}
	fate, err := ack.Int64()
	return Fate(fate), err
}
