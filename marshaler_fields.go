package redisstream

import (
	"iter"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// entryFields are the fields of an entry: stream.Fields, as they were read, or a fieldMap.
type entryFields interface {
	// Get returns the value of a field that is a string.
	Get(name string) (text string, ok bool)
	// All iterates over names and values. Of several fields with the same name, the last counts.
	All() iter.Seq2[string, string]
	// Own returns a text that a message may keep.
	Own(text string) string
}

// fieldMap are fields as the interface Unmarshaler has them.
type fieldMap map[string]any

// Get implements entryFields.
func (f fieldMap) Get(name string) (text string, ok bool) {
	text, ok = f[name].(string)
	return text, ok
}

// All implements entryFields.
func (f fieldMap) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, value := range f {
			if text, _ := value.(string); !yield(name, text) {
				return
			}
		}
	}
}

// Own implements entryFields.
func (fieldMap) Own(text string) string { return text }

// unmarshalEntry calls an Unmarshaler. The built-in ones get the fields as they were read; only
// others need a map.
//
// It compares types and does not look for a method: a type that embeds a built-in marshaler, and
// has an Unmarshal of its own, would have that method, too.
func unmarshalEntry(u Unmarshaler, id string, fields stream.Fields) (*message.Message, error) {
	switch u := u.(type) {
	case MsgpackMarshaler:
		return unmarshalMsgpack(fields)
	case JSONMarshaler:
		return unmarshalJSON(id, fields)
	case PlainMarshaler:
		return unmarshalPlain(u, id, fields)
	default:
		return u.Unmarshal(id, fields.Map())
	}
}
