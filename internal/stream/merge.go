package stream

import "iter"

// Merge iterates over several sequences that are in the same order, such as those of a topic's
// partitions, in that order. It ends after the first error.
func Merge[T any](before func(a, b T) bool, sequences ...iter.Seq2[T, error]) iter.Seq2[T, error] {
	if len(sequences) == 1 {
		return sequences[0]
	}
	return func(yield func(T, error) bool) {
		var heads []*head[T]
		for _, sequence := range sequences {
			next, stop := iter.Pull2(sequence)
			defer stop()
			h := &head[T]{next: next}
			if h.advance() {
				heads = append(heads, h)
			}
		}
		for len(heads) > 0 {
			first := 0
			for i, h := range heads {
				if h.err != nil {
					yield(h.value, h.err)
					return
				}
				if before(h.value, heads[first].value) {
					first = i
				}
			}
			if !yield(heads[first].value, nil) {
				return
			}
			if !heads[first].advance() {
				heads = append(heads[:first], heads[first+1:]...)
			}
		}
	}
}

// head is the next value of a sequence.
type head[T any] struct {
	next  func() (T, error, bool)
	value T
	err   error
}

// advance reports whether there is another value, or an error.
func (h *head[T]) advance() (ok bool) {
	h.value, h.err, ok = h.next()
	return ok
}
