package redisstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
)

const dataField = "data"

// JSONMarshaler is the format of Dapr's Redis pub/sub: the field "data" with the payload, which
// Dapr makes a JSON document, and the field "metadata" with a JSON object of strings. What others
// write there besides strings is taken as its JSON text: 3, true, null, [1,2]. The UUID is kept in
// the metadata, under "_watermill_message_uuid"; an entry without one gets its ID for a UUID.
type JSONMarshaler struct{}

// Marshal implements Marshaler.
func (JSONMarshaler) Marshal(_ string, msg *message.Message) (map[string]any, error) {
	if !utf8.ValidString(msg.UUID) {
		return nil, fmt.Errorf("UUID %q is not UTF-8, which JSON needs", msg.UUID)
	}
	all := make(map[string]string, len(msg.Metadata)+1)
	for key, value := range msg.Metadata {
		if key == uuidField {
			return nil, fmt.Errorf("metadata %q is reserved for the message's UUID", uuidField)
		}
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("metadata %q is not UTF-8, which JSON needs", key)
		}
		all[key] = value
	}
	all[uuidField] = msg.UUID
	metadata, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return map[string]any{dataField: []byte(msg.Payload), metadataField: metadata}, nil
}

// Unmarshal implements Unmarshaler. An entry without the field "data" is not in this format.
func (JSONMarshaler) Unmarshal(id string, fields map[string]any) (*message.Message, error) {
	return unmarshalJSON(id, fieldMap(fields))
}

func unmarshalJSON[F entryFields](id string, fields F) (*message.Message, error) {
	data, ok := fields.Get(dataField)
	if !ok {
		return nil, fmt.Errorf("%w: no field %q", ErrInvalidEntry, dataField)
	}
	msg := message.NewMessage(id, []byte(data))
	encoded, _ := fields.Get(metadataField)
	if encoded == "" {
		return msg, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(encoded), &values); err != nil {
		return nil, fmt.Errorf("%w: field %q: %w", ErrInvalidEntry, metadataField, err)
	}
	for key, value := range values {
		text, err := textOf(value)
		if err != nil {
			return nil, fmt.Errorf("%w: field %q: %w", ErrInvalidEntry, metadataField, err)
		}
		if key == uuidField {
			msg.UUID = text
		} else {
			msg.Metadata.Set(key, text)
		}
	}
	return msg, nil
}

// textOf returns a string as it is, and any other value as its JSON text without space.
func textOf(value json.RawMessage) (text string, err error) {
	if value[0] == '"' {
		err = json.Unmarshal(value, &text)
		return text, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, value)
	return strings.ToValidUTF8(compact.String(), "\uFFFD"), err
}
