package stream_test

import (
	"strings"
	"testing"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFields_lengths(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 127, 128, 129, 255, 256, 16_383, 16_384, 16_385, 2_097_151, 2_097_152, 5_000_000} {
		value := strings.Repeat("x", n)
		fields := stream.NewFields("before", "b", value, value, "after", "a")
		want := []string{"before", "b", value, value, "after", "a"}
		var got []string
		for name, value := range fields.All() {
			got = append(got, name, value)
		}
		assert.True(t, assert.ObjectsAreEqual(want, got), "%d bytes", n)

		entries, err := stream.DecodeEntries([]byte("*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*6\r\n" + bulks(want...)))
		require.NoError(t, err)
		assert.True(t, assert.ObjectsAreEqual(fields, entries[0].Fields), "%d bytes", n)
	}
}

func TestFields_ofTheSameNameTheLastCounts(t *testing.T) {
	t.Parallel()
	fields := stream.NewFields("a", "1", "b", "2", "a", "3")
	value, ok := fields.Get("a")
	assert.True(t, ok)
	assert.Equal(t, "3", value)
	assert.Equal(t, map[string]any{"a": "3", "b": "2"}, fields.Map())
	_, ok = fields.Get("c")
	assert.False(t, ok)
	assert.Empty(t, stream.Fields{}.Map())
}
