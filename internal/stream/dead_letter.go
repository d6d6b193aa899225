package stream

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// DeadLetterResult is the outcome of DeadLetter.
type DeadLetterResult int64

// The results of DeadLetter.
const (
	DeadLetterTrimmed  DeadLetterResult = -1 // it is no longer in the stream, and acknowledged
	DeadLetterNotOwned DeadLetterResult = 0  // it belongs to another consumer, or is acknowledged
	DeadLetterMoved    DeadLetterResult = 1  // it is in the dead-letter stream, and acknowledged
)

// tooLarge is returned by scripts for an entry that has more values than they can pass on.
const tooLarge = -2

// DeadLetterTarget is a stream for dead letters.
type DeadLetterTarget struct {
	Stream string
	MaxLen int64 // about how many dead letters are kept; 0: all
}

// DeadLetter moves an entry that this consumer owns to the dead-letter stream, with further fields,
// and acknowledges it, in one step.
func (g *Group) DeadLetter(ctx context.Context, id string, target DeadLetterTarget, further []any) (DeadLetterResult, error) {
	args := append([]any{g.name, g.consumer, id, target.MaxLen}, further...)
	keys := []string{g.key, target.Stream}
	if g.retries.takeOf(id) != 0 {
		keys = append(keys, g.retries.keys...)
	}
	result, err := g.fence.run(ctx, g.shared, deadLetterScript, keys, args).Int64()
	if err == nil && result != tooLarge {
		g.retries.forget(id)
	}
	if err != nil || result != tooLarge {
		return DeadLetterResult(result), err
	}
	return g.deadLetterLarge(ctx, id, target, further)
}

// deadLetterLarge is DeadLetter for an entry with thousands of fields, which goes through this
// process. The script has renewed its lease, so that no other consumer takes it over meanwhile.
func (g *Group) deadLetterLarge(ctx context.Context, id string, target DeadLetterTarget, further []any) (DeadLetterResult, error) {
	if err := check(ctx, g.shared, g.key, g.fence.forTransactions(g.key)); err != nil {
		return DeadLetterNotOwned, err
	}
	page, err := readPage(ctx, g.shared, g.key, Span{From: id, To: id})
	if err != nil {
		return DeadLetterNotOwned, err
	}
	if len(page.entries) == 0 {
		return DeadLetterTrimmed, g.Ack(ctx, []string{id})
	}
	args := []any{"xadd", target.Stream}
	if target.MaxLen > 0 {
		args = append(args, "maxlen", "~", target.MaxLen)
	}
	args = append(append(append(args, "*"), page.entries[0].Fields...), further...)
	var ack *redis.Cmd
	err = g.fence.transaction(ctx, g.shared, func(pipe redis.Pipeliner) error {
		add := once{redis.NewStringCmd(ctx, args...)}
		ack = redis.NewCmd(ctx, append([]any{"eval", deadLetterAckSource, 2, g.key, target.Stream, g.name, g.consumer, id}, further...)...)
		return errors.Join(pipe.Process(ctx, add), pipe.Process(ctx, ack)) // only queues them
	})
	if err != nil {
		return DeadLetterNotOwned, err
	}
	result, err := ack.Int64()
	return DeadLetterResult(result), err
}
