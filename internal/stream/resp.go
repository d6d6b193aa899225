package stream

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/redis/go-redis/v9"
)

var (
	// errMalformed is the error for a reply that is not RESP, or not what the command returns.
	errMalformed = errors.New("malformed reply")
	errCut       = fmt.Errorf("%w: it ends too early", errMalformed)
)

const crlf = "\r\n"

// maxLine bounds a line that has no end yet.
const maxLine = 1 << 20

// lineAt returns the line that b begins with, without its end. It reports whether the line is
// there.
func lineAt(b []byte) (line []byte, ok bool, err error) {
	for i := range min(len(b), maxLine) {
		if b[i] != '\n' {
			continue
		}
		if i < len(crlf) || b[i-1] != '\r' {
			return line, false, fmt.Errorf("%w: %.100q", errMalformed, b[:i+1])
		}
		return b[:i-1], true, nil
	}
	if len(b) > maxLine {
		return line, false, fmt.Errorf("%w: a line of more than %d bytes", errMalformed, maxLine)
	}
	return line, false, nil
}

// maxLength keeps sums and products of lengths within an int.
const maxLength = math.MaxInt / 4

// lengthOf returns the length in a line like "$5"; -1: nil.
func lengthOf(line []byte) (int, error) {
	if n, end := digitsAt(line, 1); end == len(line) && end > 1 {
		return n, nil
	}
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil || n < -1 || n > maxLength {
		return 0, fmt.Errorf("%w: length in %.100q", errMalformed, line)
	}
	return n, nil
}

// maxDigits is how many digits surely make no more than maxLength.
const maxDigits = 18

// digitsAt returns the number whose digits begin at pos, and where they end. It stops at maxDigits.
func digitsAt(b []byte, pos int) (n, end int) {
	for end = pos; end < len(b) && end < pos+maxDigits && '0' <= b[end] && b[end] <= '9'; end++ {
		n = 10*n + int(b[end]-'0')
	}
	return n, end
}

// usualTextAt is textAt for what nearly all of a reply is: a bulk string that is complete.
func usualTextAt(b []byte, pos int) (text span, end int, ok bool) {
	if pos >= len(b) || b[pos] != '$' {
		return text, 0, false
	}
	n, digits := digitsAt(b, pos+1)
	text.from = digits + len(crlf)
	text.to = text.from + n
	end = text.to + len(crlf)
	return text, end, digits > pos+1 && end <= len(b) && b[digits] == '\r' && b[digits+1] == '\n'
}

// textAt returns where the text of the string is that begins at pos, and where the string ends.
func textAt(b []byte, pos int) (text span, end int, err error) {
	if text, end, ok := usualTextAt(b, pos); ok {
		return text, end, nil
	}
	line, ok, err := lineAt(b[pos:])
	if err != nil {
		return text, 0, err
	}
	if !ok {
		return text, 0, errCut
	}
	end = pos + len(line) + len(crlf)
	switch line[0] {
	case '$':
		return bulkAt(b, end, line)
	case '=': // its first four bytes name its format
		const format = len("txt:")
		text, end, err = bulkAt(b, end, line)
		if err == nil && (text.to-text.from < format || b[text.from+format-1] != ':') {
			err = fmt.Errorf("%w: %.100q", errMalformed, line)
		}
		text.from += format
		return text, end, err
	case '+', ':', ',':
		return span{pos + 1, pos + len(line)}, end, nil
	default:
		return text, 0, fmt.Errorf("%w: %.100q instead of a string", errMalformed, line)
	}
}

// bulkAt returns where the text is whose length is in the line before it.
func bulkAt(b []byte, pos int, line []byte) (text span, end int, err error) {
	n, err := lengthOf(line)
	if err != nil {
		return text, 0, err
	}
	if n < 0 {
		return text, 0, redis.Nil
	}
	text, end = span{pos, pos + n}, pos+n+len(crlf)
	if end > len(b) {
		return text, 0, errCut
	}
	return text, end, nil
}
