package stream

import (
	"bufio"
	"fmt"
	"io"
)

// received is one reply or push on the connection of a watch.
type received struct {
	push   bool     // streams were changed; otherwise it is the reply to the next command
	keys   []string // which
	all    bool     // all of them
	failed bool     // the reply is an error
}

// longestName bounds what is kept of a string in a push. A longer one is skipped.
const longestName = 64 << 10

// read reads the next reply or push.
func (r *received) read(from *bufio.Reader) error {
	*r = received{keys: r.keys[:0]}
	kind, n, err := readHead(from)
	if err != nil {
		return err
	}
	if kind != '>' {
		r.failed = kind == '-' || kind == '!'
		return skipRest(from, kind, n, 0)
	}
	if n < 1 {
		return fmt.Errorf("%w: an empty push", errMalformed)
	}
	what, err := readName(from)
	if err != nil {
		return err
	}
	r.push = true
	if what == "invalidate" && n == 2 {
		return r.readKeys(from)
	}
	for range n - 1 {
		if err := skip(from, 1); err != nil {
			return err
		}
	}
	return nil
}

// readKeys reads the second element of an invalidation: the names of keys; nil: all keys.
func (r *received) readKeys(from *bufio.Reader) error {
	kind, n, err := readHead(from)
	if err != nil {
		return err
	}
	if r.all = kind != '*' || n < 0; r.all {
		return skipRest(from, kind, n, 1)
	}
	for range n {
		key, err := readName(from)
		if err != nil {
			return err
		}
		r.keys = append(r.keys, key)
	}
	return nil
}

// readHead reads the first line of an element: its kind, and its length if it has one; below 0: nil.
func readHead(from *bufio.Reader) (kind byte, n int, err error) {
	line, err := from.ReadSlice('\n')
	if err == bufio.ErrBufferFull { //nolint:errorlint // it is returned as it is
		return 0, 0, fmt.Errorf("%w: a long line", errMalformed)
	}
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return 0, 0, fmt.Errorf("%w: %.100q", errMalformed, line)
	}
	line = line[:len(line)-len(crlf)]
	switch kind = line[0]; kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return kind, -1, nil
	case '$', '=', '!', '*', '~', '>', '%', '|':
		n, err = lengthOf(line)
		return kind, n, err
	default:
		return 0, 0, fmt.Errorf("%w: %.100q", errMalformed, line)
	}
}

// readName reads a string. Of a long one it returns nothing.
func readName(from *bufio.Reader) (string, error) {
	kind, n, err := readHead(from)
	if err != nil {
		return "", err
	}
	if kind != '$' || n < 0 || n > longestName {
		return "", skipRest(from, kind, n, 1)
	}
	name := make([]byte, n+len(crlf))
	if _, err := io.ReadFull(from, name); err != nil {
		return "", err
	}
	return string(name[:n]), nil
}

func skip(from *bufio.Reader, depth int) error {
	kind, n, err := readHead(from)
	if err != nil {
		return err
	}
	return skipRest(from, kind, n, depth)
}

// skipRest reads over the rest of an element.
func skipRest(from *bufio.Reader, kind byte, n, depth int) error {
	if n < 0 {
		return nil
	}
	switch kind {
	case '$', '=', '!':
		_, err := from.Discard(n + len(crlf))
		return err
	case '%':
		n *= 2
	case '|':
		n = 2*n + 1
	}
	if depth == maxDepth {
		return fmt.Errorf("%w: nested too deep", errMalformed)
	}
	for range n {
		if err := skip(from, depth+1); err != nil {
			return err
		}
	}
	return nil
}
