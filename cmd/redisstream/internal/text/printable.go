// Package text makes what comes from a server safe and short for people and scripts. Payloads, names
// and errors are hostile: their control characters must not reach a terminal.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns s on one line: \n, \r and \t, each other character that does not print as
// \u{1b}, and bytes that are no UTF-8 as \xff.
func Printable(s string) string {
	if isPrintable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		i += size
	}
	return b.String()
}

func isPrintable(s string) bool {
	for i, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
		if r == utf8.RuneError && s[i] != "\uFFFD"[0] {
			return false
		}
	}
	return utf8.ValidString(s)
}

// Shorten returns at most n characters of s; the last is "…" where some are left out. 0 is no limit.
func Shorten(s string, n int) string {
	if n <= 0 || len(s) <= n {
		return s
	}
	count := 0
	end := 0
	for i := range s {
		if count == n-1 {
			end = i
		}
		if count++; count > n {
			return s[:end] + "…"
		}
	}
	return s
}
