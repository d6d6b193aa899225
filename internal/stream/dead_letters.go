package stream

import (
	"context"
	"iter"
)

// Get returns a dead letter.
func (l *DeadLetters) Get(ctx context.Context, id string) (letter Stored, found bool, err error) {
	return ReadEntry(ctx, l.client, l.from, id)
}

// All iterates over the dead letters that exist when it begins, the oldest first, including those
// of other streams.
func (l *DeadLetters) All(ctx context.Context) iter.Seq2[Stored, error] {
	return ReadEntries(ctx, l.client, l.from, Span{From: "-"})
}
