package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON returns v as JSON on one line, or indented. Characters that do not print are escaped, so that
// it may be shown on a terminal.
func JSON(v any, indented bool) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if indented {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return escaped(b.Bytes()), nil
}

// escaped replaces the characters that do not print; in JSON they are always within strings.
func escaped(document []byte) []byte {
	var out []byte
	kept := 0
	for i := 0; i < len(document); {
		r, size := utf8.DecodeRune(document[i:])
		if r != '\n' && !unicode.IsPrint(r) {
			out = append(out, document[kept:i]...)
			if high, low := utf16.EncodeRune(r); r > 0xffff {
				out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
			kept = i + size
		}
		i += size
	}
	return append(out, document[kept:]...)
}
