package stream

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"strings"
)

// Fields are the names and values of an entry's fields, in their order. They share memory with
// entries that came with them: see decoder.
type Fields struct {
	raw string // names and values in turn, each after its length as a varint
}

// NewFields returns fields from name, value, name, value.
func NewFields(texts ...string) Fields {
	var raw strings.Builder
	for _, text := range texts {
		appendLength(&raw, len(text))
		raw.WriteString(text)
	}
	return Fields{raw.String()}
}

// appendLength appends what comes before a text of n bytes.
func appendLength(raw *strings.Builder, n int) {
	var length [binary.MaxVarintLen64]byte
	raw.Write(binary.AppendUvarint(length[:0], uint64(n))) //nolint:gosec // a length is not negative
}

// rawSize returns how many bytes of Fields a text of n bytes takes.
func rawSize(n int) int { return n + 1 + max(0, bits.Len(uint(n))-1)/7 }

// textAt returns the text that begins at pos, and where it ends.
func (f Fields) textAt(pos int) (text string, end int) {
	n := int(f.raw[pos])
	pos++
	for shift := 7; n >= 1<<shift; shift += 7 { // the highest bit of a byte: another one follows
		n += (int(f.raw[pos]) - 1) << shift
		pos++
	}
	return f.raw[pos : pos+n], pos + n
}

// All iterates over names and values.
func (f Fields) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for pos := 0; pos < len(f.raw); {
			name, next := f.textAt(pos)
			value, end := f.textAt(next)
			if !yield(name, value) {
				return
			}
			pos = end
		}
	}
}

// Get returns the value of a field; of several with the same name the last.
func (f Fields) Get(name string) (value string, ok bool) {
	for n, v := range f.All() {
		if n == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// Map returns the fields as a map; of several with the same name the last counts. Values are
// strings.
func (f Fields) Map() map[string]any {
	fields := make(map[string]any)
	for name, value := range f.All() {
		fields[name] = value
	}
	return fields
}

// Own returns a text of the fields that may outlive the entry. If the fields are large, it is a
// copy: otherwise the text would keep all of them in memory.
func (f Fields) Own(text string) string {
	if len(f.raw) <= blockSize {
		return text
	}
	return strings.Clone(text)
}
