package redisstream

import (
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/vmihailenco/msgpack/v5"
)

// Marshaler turns a message into the fields of an entry. It must be safe for concurrent use.
type Marshaler interface {
	// Marshal returns the entry's fields; the values are strings or []byte, and are not changed
	// after. An error fails the whole Publish call before anything is sent.
	Marshal(topic string, msg *message.Message) (map[string]any, error)
}

// Unmarshaler turns the fields of an entry into a message. It must be safe for concurrent use.
type Unmarshaler interface {
	// Unmarshal returns a new message each time that it is called; id is the entry's ID, the values
	// of fields are strings. Fields that it doesn't know are to be ignored.
	Unmarshal(id string, fields map[string]any) (*message.Message, error)
}

// Names of the default format's fields.
const (
	uuidField     = "_watermill_message_uuid"
	metadataField = "metadata"
	payloadField  = "payload"
)

// MsgpackMarshaler is the default format, which github.com/ThreeDotsLabs/watermill-redisstream
// writes too: the field "_watermill_message_uuid", the field "metadata" with a MessagePack map of
// strings (empty when there is none) and the field "payload".
type MsgpackMarshaler struct{}

// Marshal implements Marshaler.
func (MsgpackMarshaler) Marshal(_ string, msg *message.Message) (map[string]any, error) {
	metadata, err := packMetadata(msg.Metadata)
	if err != nil {
		return nil, err
	}
	return map[string]any{uuidField: msg.UUID, metadataField: metadata, payloadField: []byte(msg.Payload)}, nil
}

// fieldList is Marshal without the detour of a map, for the Publisher: the names in order, each
// with its value.
func (MsgpackMarshaler) fieldList(msg *message.Message) (stream.FieldList, error) {
	metadata, err := packMetadata(msg.Metadata)
	if err != nil {
		return stream.FieldList{}, err
	}
	return stream.NewFieldList(uuidField, msg.UUID, metadataField, metadata, payloadField, []byte(msg.Payload)), nil
}

func packMetadata(metadata message.Metadata) (string, error) {
	if len(metadata) == 0 {
		return "", nil
	}
	packed, err := msgpack.Marshal(map[string]string(metadata))
	if err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	return string(packed), nil
}

// Unmarshal implements Unmarshaler. An entry without the UUID's field is not in this format.
func (MsgpackMarshaler) Unmarshal(_ string, fields map[string]any) (*message.Message, error) {
	var e msgpackEntry
	e.uuid, e.valid = fields[uuidField].(string)
	e.metadata, _ = fields[metadataField].(string)
	e.payload, _ = fields[payloadField].(string)
	return e.message()
}

func unmarshalMsgpack(fields stream.Fields) (*message.Message, error) {
	var e msgpackEntry
	for name, value := range fields.All() {
		switch name {
		case uuidField:
			e.uuid, e.valid = value, true
		case metadataField:
			e.metadata = value
		case payloadField:
			e.payload = value
		}
	}
	e.uuid = fields.Own(e.uuid)
	return e.message()
}

// msgpackEntry holds the fields of an entry.
type msgpackEntry struct {
	uuid, metadata, payload string
	valid                   bool // there is a UUID
}

func (e *msgpackEntry) message() (*message.Message, error) {
	if !e.valid {
		return nil, fmt.Errorf("%w: no field %q", ErrInvalidEntry, uuidField)
	}
	msg := message.NewMessage(e.uuid, []byte(e.payload))
	if e.metadata == "" {
		return msg, nil
	}
	metadata, err := unpackMetadata(e.metadata)
	if err != nil {
		return nil, fmt.Errorf("%w: field %q: %w", ErrInvalidEntry, metadataField, err)
	}
	msg.Metadata = metadata
	return msg, nil
}

// maxMetadataHint is how many elements to make room for before they are seen: an element of two
// bytes takes forty times as much in a map.
const maxMetadataHint = 1024

// unpackMetadata reads a MessagePack map of strings. The length that the map states is checked
// against the bytes that are there before anything is allocated by it.
func unpackMetadata(packed string) (message.Metadata, error) {
	decoder := msgpack.NewDecoder(strings.NewReader(packed))
	n, err := decoder.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	if 2*n > len(packed) {
		return nil, fmt.Errorf("a map of %d elements in %d bytes", n, len(packed))
	}
	metadata := make(message.Metadata, min(max(n, 0), maxMetadataHint))
	for range n {
		key, err := decoder.DecodeString()
		if err != nil {
			return nil, err
		}
		if metadata[key], err = decoder.DecodeString(); err != nil {
			return nil, fmt.Errorf("value of %q: %w", key, err)
		}
	}
	return metadata, nil
}
