package stream

import (
	"iter"
	"strconv"
	"strings"
)

// Fields are the names and values of an entry's fields, in their order. They share memory with
// other entries of the same reply: see decoder.
type Fields struct {
	raw string // as in the reply, names and values alternating; the decoder has checked them
}

// NewFields returns fields from name, value, name, value.
func NewFields(texts ...string) Fields {
	var raw strings.Builder
	for _, text := range texts {
		raw.WriteString("$" + strconv.Itoa(len(text)) + crlf + text + crlf)
	}
	return Fields{raw.String()}
}

// All iterates over names and values.
func (f Fields) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for pos := 0; pos < len(f.raw); {
			name, next, _ := textAt(f.raw, pos)
			value, end, err := textAt(f.raw, next)
			if err != nil || !yield(f.raw[name.from:name.to], f.raw[value.from:value.to]) {
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
