package redisstream_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type contextKey struct{}

func TestContextWithEntry(t *testing.T) {
	t.Parallel()
	_, ok := redisstream.EntryFromContext(t.Context())
	assert.False(t, ok)

	want := redisstream.Entry{Stream: "orders", ID: "1-2", Group: "kitchen", Consumer: "a", Deliveries: 3}
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), contextKey{}, "value"))
	ctx := redisstream.ContextWithEntry(parent, want)
	got, ok := redisstream.EntryFromContext(context.WithoutCancel(ctx))
	assert.True(t, ok)
	assert.Equal(t, want, got)
	assert.Equal(t, "value", ctx.Value(contextKey{}))
	cancel()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestRecordedError(t *testing.T) {
	t.Parallel()
	errMilk, errTea := errors.New("out of milk"), errors.New("out of tea")
	require.NoError(t, redisstream.RecordedError(t.Context()))

	msg := message.NewMessage("1", nil)
	msg.SetContext(redisstream.ContextWithEntry(t.Context(), redisstream.Entry{}))
	require.NoError(t, redisstream.RecordedError(msg.Context()))
	handler := redisstream.RecordError(func(*message.Message) ([]*message.Message, error) { return nil, errMilk })
	_, err := handler(msg)
	require.ErrorIs(t, err, errMilk)
	require.ErrorIs(t, redisstream.RecordedError(msg.Context()), errMilk)

	assert.True(t, redisstream.NackWithReason(msg, errTea))
	require.ErrorIs(t, redisstream.RecordedError(msg.Context()), errTea)
}

// The handler's error reaches its delivery even if a middleware replaces the entry.
func TestContextWithEntry_replacesAnEntry(t *testing.T) {
	t.Parallel()
	delivery := redisstream.ContextWithEntry(t.Context(), redisstream.Entry{ID: "1-1"})
	replaced := redisstream.ContextWithEntry(delivery, redisstream.Entry{ID: "2-2"})
	entry, _ := redisstream.EntryFromContext(replaced)
	assert.Equal(t, "2-2", entry.ID)
	entry, _ = redisstream.EntryFromContext(delivery)
	assert.Equal(t, "1-1", entry.ID)

	msg := message.NewMessage("1", nil)
	msg.SetContext(replaced)
	redisstream.NackWithReason(msg, errors.New("out of milk"))
	require.ErrorContains(t, redisstream.RecordedError(delivery), "out of milk")
}
