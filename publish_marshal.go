package redisstream

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

var errNoFields = errors.New("the marshaler returned no fields")

func (p *Publisher) marshal(topic string, messages []*message.Message) ([]stream.AddRequest, error) {
	additions := make([]stream.AddRequest, len(messages))
	for i, msg := range messages {
		fields, err := p.fields(topic, msg)
		if err != nil {
			return nil, fmt.Errorf("message %d of %d, UUID %q: marshal: %w", i+1, len(messages), msg.UUID, err)
		}
		additions[i] = stream.AddRequest{Fields: fields, MaxLen: p.config.MaxLen, MaxAge: p.config.MaxAge}
	}
	return additions, nil
}

// fields returns the names and values of the message's entry.
func (p *Publisher) fields(topic string, msg *message.Message) ([]any, error) {
	if m, ok := p.config.Marshaler.(MsgpackMarshaler); ok {
		return m.fieldList(msg)
	}
	fields, err := p.callMarshaler(topic, msg)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 { // an XADD that the server refuses
		return nil, errNoFields
	}
	for name, value := range fields {
		switch value.(type) {
		case string, []byte:
		default: // go-redis may fail to send it, and with it all that shares its pipeline
			return nil, fmt.Errorf("field %q is a %T, not a string or []byte", name, value)
		}
	}
	return stream.FieldList(fields), nil
}

// callMarshaler turns a panic of the user's Marshaler into an error.
func (p *Publisher) callMarshaler(topic string, msg *message.Message) (fields map[string]any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
			p.logger.Error("Marshaler panicked: the message is not published", err, watermill.LogFields{
				"topic": topic, "message_uuid": msg.UUID, "stack": string(debug.Stack()),
			})
		}
	}()
	return p.config.Marshaler.Marshal(topic, msg)
}

func panicked(reason any) error {
	if err, ok := reason.(error); ok {
		return fmt.Errorf("%T panicked: %w", reason, err)
	}
	return fmt.Errorf("panicked: %v", reason)
}
