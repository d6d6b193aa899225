package redisstream

import (
	"cmp"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// PlainMarshaler reads and writes what a plain XADD, or Python's zephcast, produces: the
// payload in one field and each metadata value in a field of its own. The UUID is in the field
// "_watermill_message_uuid"; an entry without one gets its ID for a UUID.
type PlainMarshaler struct {
	// PayloadField is the payload's field. Default: "data".
	PayloadField string
}

func (m PlainMarshaler) payloadField() string { return cmp.Or(m.PayloadField, dataField) }

// Marshal implements Marshaler. Metadata with the name of the payload's or the UUID's field is an
// error.
func (m PlainMarshaler) Marshal(_ string, msg *message.Message) (map[string]any, error) {
	fields := make(map[string]any, len(msg.Metadata)+2)
	for key, value := range msg.Metadata {
		if key == m.payloadField() || key == uuidField {
			return nil, fmt.Errorf("metadata %q has the name of a field of the entry", key)
		}
		fields[key] = value
	}
	fields[m.payloadField()] = []byte(msg.Payload)
	if msg.UUID != "" {
		fields[uuidField] = msg.UUID
	}
	return fields, nil
}

// Unmarshal implements Unmarshaler. An entry without the payload's field is not in this format.
func (m PlainMarshaler) Unmarshal(id string, fields map[string]any) (*message.Message, error) {
	return unmarshalPlain(m, id, fieldMap(fields))
}

func unmarshalPlain[F entryFields](m PlainMarshaler, id string, fields F) (*message.Message, error) {
	payload, ok := fields.Get(m.payloadField())
	if !ok {
		return nil, fmt.Errorf("%w: no field %q", ErrInvalidEntry, m.payloadField())
	}
	msg := message.NewMessage(id, []byte(payload))
	for name, text := range fields.All() {
		switch name {
		case m.payloadField():
		case uuidField:
			msg.UUID = fields.Own(text)
		default:
			msg.Metadata[fields.Own(name)] = fields.Own(text)
		}
	}
	return msg, nil
}
