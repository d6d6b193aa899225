package adminui

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "",
		"plain ü 日本 😀":          "plain ü 日本 😀",
		"two\nlines\tand a tab": "two\nlines\tand a tab",
		"\x1b[31mred\x00":       `\x1b[31mred\x00`,
		"a\u202egnp.exe":        `a\u202egnp.exe`,
		"zero\u200bwidth":       `zero\u200bwidth`,
		"\xff\xfe":              `\xff\xfe`,
		"del\x7f":               `del\x7f`,
		"line\u2028break":       `line\u2028break`,
	} {
		assert.Equal(t, want, visible(text), "%q", text)
	}
}

func TestName_isBounded(t *testing.T) {
	t.Parallel()
	long := name(strings.Repeat("ü", nameBytes))
	assert.Equal(t, strings.Repeat("ü", nameBytes/2)+"…", long)
	assert.Len(t, name(strings.Repeat("\xff", 2*nameBytes)), 4*nameBytes+len("…"), "what is no UTF-8 is cut too")
}

func TestContentOf(t *testing.T) {
	t.Parallel()
	assert.Equal(t, content{Text: "{\n  \"a\": [\n    1\n  ]\n}", Kind: "JSON", Size: 9, Shown: 9}, contentOf([]byte(`{"a":[1]}`)))
	assert.Equal(t, content{Text: "hello", Kind: "text", Size: 5, Shown: 5}, contentOf([]byte("hello")))
	assert.Equal(t, content{Text: "{no JSON", Kind: "text", Size: 8, Shown: 8}, contentOf([]byte("{no JSON")))

	bytes := contentOf([]byte("\xff\x00<script>"))
	assert.Equal(t, "bytes", bytes.Kind)
	assert.Contains(t, bytes.Text, "ff 00 3c 73 63 72")

	large := contentOf([]byte(strings.Repeat("€", 10<<20/3)))
	assert.Equal(t, "text", large.Kind, "the last character is not cut in two")
	assert.LessOrEqual(t, len(large.Text), shownBytes)
	assert.True(t, utf8.ValidString(large.Text))
	assert.Less(t, large.Shown, large.Size)
}

// Each level of JSON indents all that is in it: 60 KB of brackets would become a gigabyte.
func TestContentOf_deepJSON(t *testing.T) {
	t.Parallel()
	deep := contentOf([]byte(strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000)))
	assert.Equal(t, "text", deep.Kind)
	assert.Len(t, deep.Text, 60_000)
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "a b c", oneLine([]byte("a\n\tb  c\n")))
	assert.Equal(t, strings.Repeat("x", lineBytes)+"…", oneLine([]byte(strings.Repeat("x", 1<<20))))
}

func TestWords(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "1,234,567", count(1_234_567))
	assert.Equal(t, "-1,000", count(-1000))
	assert.Equal(t, "1 message", number(1, "message"))
	assert.Equal(t, "2,000 messages", number(2000, "message"))
	assert.Equal(t, "5m34s", age(334*time.Second))
	assert.Equal(t, "3d04h", age(76*time.Hour))
	assert.Equal(t, "0s", age(-time.Second))
	assert.Equal(t, "unknown", size(-1))
	assert.Equal(t, "1.5 KiB", size(1536))
	assert.Empty(t, stamp(time.Time{}))
}
