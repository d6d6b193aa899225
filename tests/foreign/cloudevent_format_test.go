package foreign

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
)

// CloudEvents reads and writes what Dapr's Redis pub/sub component holds for publishers that do not
// set rawPayload: the field "data" with a CloudEvent in JSON. The UUID of the message is the event's
// id, the payload its data, and the metadata its other attributes and what is in the entry's field
// "metadata".
type CloudEvents struct {
	Source string // the attribute source of what is published
}

// attributes are the names that a CloudEvent uses for itself.
type attributes struct {
	ID         string          `json:"id"`
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"data_base64,omitempty"` //nolint:tagliatelle // CloudEvents' name
}

// Marshal implements redisstream.Marshaler. The metadata "type" and "datacontenttype" have defaults.
func (c CloudEvents) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	event := map[string]any{
		"type": "com.dapr.event.sent", "datacontenttype": "application/json",
		"specversion": "1.0", "source": c.Source, "id": msg.UUID, "topic": topic,
	}
	for name, value := range msg.Metadata {
		event[name] = value
	}
	event["id"] = msg.UUID
	switch contentType, _ := event["datacontenttype"].(string); {
	case isJSON(contentType):
		event["data"] = json.RawMessage(msg.Payload)
	case strings.HasPrefix(contentType, "text/"):
		event["data"] = string(msg.Payload)
	default:
		event["data_base64"] = []byte(msg.Payload)
	}
	data, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("cloud event: %w", err)
	}
	return map[string]any{"data": data}, nil
}

// Unmarshal implements redisstream.Unmarshaler.
func (CloudEvents) Unmarshal(id string, fields map[string]any) (*message.Message, error) {
	entry, err := redisstream.JSONMarshaler{}.Unmarshal(id, fields)
	if err != nil {
		return nil, err
	}
	var known attributes
	var all map[string]json.RawMessage
	if err := json.Unmarshal(entry.Payload, &known); err != nil {
		return nil, fmt.Errorf("cloud event: %w", err)
	}
	if err := json.Unmarshal(entry.Payload, &all); err != nil {
		return nil, fmt.Errorf("cloud event: %w", err)
	}
	if known.ID == "" {
		return nil, fmt.Errorf("cloud event without id: %w", redisstream.ErrInvalidEntry)
	}
	msg := message.NewMessage(known.ID, known.DataBase64)
	maps.Copy(msg.Metadata, entry.Metadata)
	for name, value := range all {
		var text string
		if name != "id" && name != "data" && name != "data_base64" && json.Unmarshal(value, &text) == nil {
			msg.Metadata.Set(name, text)
		}
	}
	if known.DataBase64 == nil {
		msg.Payload = message.Payload(known.Data)
		var text string
		if !isJSON(msg.Metadata.Get("datacontenttype")) && json.Unmarshal(known.Data, &text) == nil {
			msg.Payload = message.Payload(text)
		}
	}
	return msg, nil
}

func isJSON(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}
