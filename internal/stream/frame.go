package stream

import "fmt"

// maxDepth bounds how deep replies are nested. The deepest one that is asked for has five levels.
const maxDepth = 16

// frame finds the end of one RESP reply in bytes that arrive piece by piece. It works in one pass:
// bytes that were scanned are not scanned again. It allocates nothing.
type frame struct {
	pos   int           // what is before it was scanned
	bulk  int           // bytes of a string that are still to be skipped
	left  [maxDepth]int // elements to come, by level
	depth int
}

// scan goes on with what arrived. It reports whether the reply is complete; then it ends at f.pos.
func (f *frame) scan(b []byte) (complete bool, err error) {
	for {
		if f.bulk > 0 {
			skipped := min(f.bulk, len(b)-f.pos)
			f.pos += skipped
			if f.bulk -= skipped; f.bulk > 0 {
				return false, nil
			}
			if f.elementEnded() {
				return true, nil
			}
		}
		line, ok, err := lineAt(b[f.pos:])
		if err != nil || !ok {
			return false, err
		}
		f.pos += len(line) + len(crlf)
		ended, err := f.begin(line)
		if err != nil || ended && f.elementEnded() {
			return err == nil, err
		}
	}
}

// begin reads the first line of an element. It reports whether the element ends with it.
func (f *frame) begin(line []byte) (ended bool, err error) {
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return true, nil
	}
	n, err := lengthOf(line)
	if err != nil || n < 0 {
		return true, err
	}
	switch line[0] {
	case '$', '=', '!':
		f.bulk = n + len(crlf)
		return false, nil
	case '*', '~', '>':
	case '%':
		n *= 2
	case '|':
		n = 2*n + 1 // an attribute belongs to the element that follows it
	default:
		return false, fmt.Errorf("%w: %.100q", errMalformed, line)
	}
	if n == 0 {
		return true, nil
	}
	if f.depth == maxDepth {
		return false, fmt.Errorf("%w: nested too deep", errMalformed)
	}
	f.left[f.depth] = n
	f.depth++
	return false, nil
}

// elementEnded reports whether the reply ended with the element.
func (f *frame) elementEnded() bool {
	for f.depth > 0 {
		f.left[f.depth-1]--
		if f.left[f.depth-1] > 0 {
			return false
		}
		f.depth--
	}
	return true
}
