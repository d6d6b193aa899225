package adminui

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	shownBytes = 64 << 10 // of a payload
	dumpBytes  = 8 << 10  // of a payload that is no text
	lineBytes  = 160      // of a payload in a table
	nameBytes  = 1 << 10  // of a name, a reason, an error or a value
	maxDepth   = 64       // of JSON that gets line breaks: each level indents all that is in it
)

// visible returns text as people can read it: bytes that are no UTF-8 and characters that can't be
// seen, or that change the direction of what follows, as escapes. Line breaks and tabs stay.
func visible(text string) string {
	clean := strings.IndexFunc(text, hidden) < 0 && utf8.ValidString(text)
	if clean {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && hidden(r):
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		text = text[size:]
	}
	return b.String()
}

// hidden tells whether a character can't be seen, or changes how others are shown.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar)
}

// cut returns the beginning of text, at most n bytes of whole characters.
func cut(text string, n int) (beginning string, more bool) {
	if len(text) <= n {
		return text, false
	}
	end := n
	for end > 0 && n-end < utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	if utf8.RuneStart(text[end]) { // else it is no UTF-8
		n = end
	}
	return text[:n], true
}

// name returns a name, a reason or a value of metadata as a page shows it.
func name(text string) string {
	text, more := cut(text, nameBytes)
	if more {
		return visible(text) + "…"
	}
	return visible(text)
}

// oneLine returns the beginning of a payload for a table.
func oneLine(payload []byte) string {
	text, more := cut(string(payload[:min(len(payload), 2*lineBytes)]), lineBytes)
	text = strings.Join(strings.Fields(visible(text)), " ")
	if more {
		return text + "…"
	}
	return text
}

// content is a payload as a page shows it.
type content struct {
	Text  string
	Kind  string // "JSON", "text" or "bytes"
	Size  int
	Shown int // bytes; less than Size: there is more
}

func contentOf(payload []byte) content {
	c := content{Size: len(payload), Shown: min(len(payload), shownBytes), Kind: "text"}
	beginning, _ := cut(string(payload[:min(len(payload), shownBytes+utf8.UTFMax)]), shownBytes)
	switch {
	case len(payload) <= shownBytes && indented(payload, &c.Text):
		c.Kind = "JSON"
	case utf8.ValidString(beginning):
		c.Text = visible(beginning)
	default:
		c.Kind, c.Shown = "bytes", min(len(payload), dumpBytes)
		c.Text = hex.Dump(payload[:c.Shown])
	}
	return c
}

// indented writes JSON, if payload is an object or an array of it, with line breaks.
func indented(payload []byte, text *string) bool {
	trimmed := bytes.TrimSpace(payload)
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' || !utf8.Valid(payload) || depth(payload) > maxDepth {
		return false
	}
	var b bytes.Buffer
	if json.Indent(&b, trimmed, "", "  ") != nil || b.Len() > 4*shownBytes {
		return false
	}
	*text = visible(b.String())
	return true
}

// depth returns how many brackets of JSON are open at the same time, at most.
func depth(text []byte) (most int) {
	open := 0
	for _, c := range text {
		switch c {
		case '{', '[':
			open++
			most = max(most, open)
		case '}', ']':
			open--
		}
	}
	return most
}

// size returns a number of bytes in words.
func size(n int64) string {
	switch {
	case n < 0:
		return "unknown"
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

// age returns a duration with its two largest units.
func age(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// count returns a number with separators between thousands.
func count(n int64) string {
	digits := strconv.FormatInt(max(n, -n), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}

// number returns "1 message" or "2 messages".
func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(int64(n)) + " " + what + "s"
}

// stamp returns a time in UTC; empty: it is not known.
func stamp(t time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}
