package stream_test

import (
	"errors"
	"iter"
	"testing"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sequence yields numbers, then an error if it is not nil, and counts what was yielded.
func sequence(count *int, failure error, numbers ...int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for _, n := range numbers {
			*count++
			if !yield(n, nil) {
				return
			}
		}
		if failure != nil {
			yield(0, failure)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	before := func(a, b int) bool { return a < b }
	errBroken := errors.New("broken")
	var count int
	collect := func(sequences ...iter.Seq2[int, error]) (got []int, err error) {
		for n, err := range stream.Merge(before, sequences...) {
			if err != nil {
				return got, err
			}
			got = append(got, n)
		}
		return got, nil
	}
	got, err := collect(sequence(&count, nil, 1, 4, 4, 9), sequence(&count, nil), sequence(&count, nil, 2, 3, 4, 10))
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 3, 4, 4, 4, 9, 10}, got)
	got, err = collect()
	require.NoError(t, err)
	assert.Empty(t, got)
	got, err = collect(sequence(&count, errBroken, 1, 5), sequence(&count, nil, 2, 6, 7))
	require.ErrorIs(t, err, errBroken)
	assert.Equal(t, []int{1, 2, 5}, got)

	count = 0
	for _, err := range stream.Merge(before, sequence(&count, nil, 1, 2, 3), sequence(&count, nil, 4, 5, 6)) {
		require.NoError(t, err)
		break
	}
	assert.Equal(t, 2, count, "one of each sequence was read")
}
