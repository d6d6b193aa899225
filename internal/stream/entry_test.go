package stream_test

import (
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"0-0":                    "0-1",
		"5-9":                    "5-10",
		"1700000000000-0":        "1700000000000-1",
		"5-18446744073709551614": "5-18446744073709551615",
		"5-18446744073709551615": "6-0",
		"18446744073709551614-18446744073709551615": "18446744073709551615-0",
		"18446744073709551615-18446744073709551614": "18446744073709551615-18446744073709551615",
		// No ID follows the last one.
		"18446744073709551615-18446744073709551615": "18446744073709551615-18446744073709551615",
	} {
		assert.Equal(t, want, stream.After(id), "after %q", id)
	}
}

func TestBefore(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"0-0":             "0-0", // no ID precedes the first one
		"0-1":             "0-0",
		"5-10":            "5-9",
		"6-0":             "5-18446744073709551615",
		"1700000000000-0": "1699999999999-18446744073709551615",
	} {
		assert.Equal(t, want, stream.Before(id), "before %q", id)
	}
}

func TestAfter_isTheNextOfTheServer(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for _, id := range []string{"5-9", "5-18446744073709551615"} {
		key := ownKey(t)
		next := stream.After(id)
		for _, each := range []string{id, next} {
			require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: each, Values: []string{"a", "b"}}).Err())
		}
		found, err := client.XRange(t.Context(), key, next, "+").Result()
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Equal(t, next, found[0].ID)
	}
}

func TestEntry_Size(t *testing.T) {
	t.Parallel()
	entry := stream.Entry{ID: "1-0"}
	assert.Equal(t, 3, entry.Size())
	entry = stream.Entry{ID: "1-0", Fields: stream.NewFields("name", "value", "x", "")}
	assert.Equal(t, 3+len("name")+len("value")+len("x")+4, entry.Size(), "each text has a length")
}
