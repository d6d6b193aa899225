package adminui

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	letter := admin.DeadLetter{
		DeadLetter: redisstream.DeadLetter{Reason: "delivery limit", Error: "503 from the Bank", Group: "kitchen"},
		Message:    admin.Message{UUID: "u-1", Payload: []byte(`{"customer":42}`), Metadata: message.Metadata{"customer": "c-42"}},
	}
	for _, f := range []filter{
		{},
		{Text: "bank"},
		{Text: "limit BANK"},
		{Text: "customer=c-42"},
		{Text: "c-42 u-1"},
		{Text: `"customer":42`},
		{Group: "kitchen"},
		{Text: "kitchen"},
	} {
		assert.True(t, f.letter(letter), "%+v", f)
	}
	for _, f := range []filter{{Text: "bank mail"}, {Text: "customer=c-4"}, {Text: "other=c-42"}, {Group: "billing"}, {Text: "bank", Group: "x"}} {
		assert.False(t, f.letter(letter), "%+v", f)
	}
}

func TestLater(t *testing.T) {
	t.Parallel()
	assert.True(t, later("10-0", "9-5"))
	assert.True(t, later("9-10", "9-9"))
	assert.False(t, later("9-9", "9-9"))
	assert.False(t, later("9-9", "10-0"))
}

func TestPosition(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 22, 10, 0, 0, time.UTC)
	after := func(t time.Time) string { return "(" + admin.IDAt(t.Add(time.Millisecond)) }
	for at, want := range map[string]string{
		"1795520068644-0": "1795520068644-0", " 1795520068644 ": "1795520068644",
		"2026-11-27 22:10": after(now), "2026-11-27T22:10:00Z": after(now), "2026-11-27T23:10:00+01:00": after(now),
		"2026-11-27": after(now.Add(-22*time.Hour - 10*time.Minute)), "10m": after(now.Add(-10 * time.Minute)),
	} {
		got, err := position(at, now)
		require.NoError(t, err, at)
		assert.Equal(t, want, got, at)
	}
	for _, at := range []string{"yesterday", "1-2-3", "99999999999999999999999"} {
		_, err := position(at, now)
		assert.Error(t, err, at)
	}
}
