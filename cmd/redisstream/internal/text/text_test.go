package text_test

import (
	"encoding/json"
	"testing"
	"time"
	"unicode"

	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for hostile, shown := range map[string]string{
		"":                      "",
		`{"a": "b\c"}`:          `{"a": "b\c"}`,
		"naïve 日本 😀":            "naïve 日本 😀",
		"a\nb\r\tc":             `a\nb\r\tc`,
		"\x1b[2J\x1b]0;owned\a": `\u{1b}[2J\u{1b}]0;owned\u{7}`,
		"\u009b31m":             `\u{9b}31m`,
		"\u202eabc\u2028":       `\u{202e}abc\u{2028}`,
		"\xff\xfea":             `\xff\xfea`,
		"\ufffd":                "\ufffd",
		"a\x00\x7f":             `a\u{0}\u{7f}`,
	} {
		assert.Equal(t, shown, text.Printable(hostile))
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[2J\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range text.Printable(s) {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q becomes %q", s, text.Printable(s))
			}
		}
	})
}

func TestJSON_reachesATerminalSafely(t *testing.T) {
	t.Parallel()
	hostile := "\x1b[2J\u009b\u202e\x7f<&>😀\U000e0001\n"
	document, err := text.JSON(map[string]string{"payload": hostile}, false)
	require.NoError(t, err)
	for _, r := range string(document[:len(document)-1]) {
		assert.True(t, unicode.IsPrint(r), "%q", document)
	}
	var back map[string]string
	require.NoError(t, json.Unmarshal(document, &back))
	assert.Equal(t, hostile, back["payload"], "nothing is lost")
}

func TestShorten(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "abc", text.Shorten("abc", 3))
	assert.Equal(t, "ab…", text.Shorten("abcd", 3))
	assert.Equal(t, "日本語", text.Shorten("日本語", 3))
	assert.Equal(t, "日本…", text.Shorten("日本語文", 3))
	assert.Equal(t, "abcd", text.Shorten("abcd", 0))
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, shown := range map[time.Duration]string{
		0: "0ms", 12 * time.Millisecond: "12ms", 1900 * time.Millisecond: "1s", 334 * time.Second: "5m34s", 5 * time.Minute: "5m",
		3*time.Hour + time.Second: "3h", 3*time.Hour + time.Minute: "3h1m", 52 * time.Hour: "2d4h", -time.Minute: "-1m",
	} {
		assert.Equal(t, shown, text.Age(d))
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for s, d := range map[string]time.Duration{"2h": 2 * time.Hour, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour} {
		parsed, err := text.ParseDuration(s)
		require.NoError(t, err, s)
		assert.Equal(t, d, parsed)
	}
	for _, s := range []string{"", "d", "2", "1dx", "99999999d", "2d1d"} {
		_, err := text.ParseDuration(s)
		assert.Error(t, err, s)
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	expected := time.Date(2026, 11, 27, 21, 30, 0, 0, time.UTC)
	for _, s := range []string{"2026-11-27T21:30:00Z", "2026-11-27T22:30:00+01:00", "2026-11-27 21:30:00", "2026-11-27 21:30"} {
		parsed, err := text.ParseTime(s)
		require.NoError(t, err)
		assert.True(t, expected.Equal(parsed), s)
	}
	_, err := text.ParseTime("yesterday")
	assert.Error(t, err)
}
