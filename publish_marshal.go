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

// marshal sets the request of each message. It goes lane by lane, if the lanes are known, so that what a
// pipeline needs is together in memory.
func (p *Publisher) marshal(call *publication) error {
	if call.partitioned != nil {
		if err := p.route(call); err != nil {
			return err
		}
	}
	for n := range call.messages {
		i := n
		if call.order.table != nil {
			i = int(call.order.messages[n])
		}
		if err := p.marshalMessage(call, i); err != nil {
			return fmt.Errorf("message %d of %d, UUID %q: %w", i+1, len(call.messages), call.messages[i].UUID, err)
		}
	}
	return nil
}

func (p *Publisher) marshalMessage(call *publication, i int) error {
	msg, request := call.messages[i], call.requests[i]
	fields, err := p.fields(call.topic, msg)
	if err != nil {
		return fmt.Errorf("marshal: %w", err)
	}
	request.Fields, request.MaxLen, request.MaxAge = fields, p.config.MaxLen, p.config.MaxAge
	if err := p.delayed(call.stream(i), msg, request); err != nil {
		return err
	}
	return p.once(call.topic, call.stream(i), msg, request)
}

// fields returns the names and values of the message's entry.
func (p *Publisher) fields(topic string, msg *message.Message) (list stream.FieldList, err error) {
	if m, ok := p.config.Marshaler.(MsgpackMarshaler); ok {
		return m.fieldList(msg)
	}
	fields, err := p.callMarshaler(topic, msg)
	if err != nil {
		return list, err
	}
	if len(fields) == 0 { // an XADD that the server refuses
		return list, errNoFields
	}
	for name, value := range fields {
		switch value.(type) {
		case string, []byte:
		default: // go-redis may fail to send it, and with it all that shares its pipeline
			return list, fmt.Errorf("field %q is a %T, not a string or []byte", name, value)
		}
	}
	return stream.SortedFieldList(fields), nil
}

// callMarshaler turns a panic of the user's Marshaler into an error.
func (p *Publisher) callMarshaler(topic string, msg *message.Message) (fields map[string]any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
			p.logger.Error("Marshaler panicked: the message is not published", err, fieldsOfPanic(topic, msg))
		}
	}()
	return p.config.Marshaler.Marshal(topic, msg)
}

// fieldsOfPanic returns the fields of a log line about a function of the user that panicked. It is
// called where the panic is recovered.
func fieldsOfPanic(topic string, msg *message.Message) watermill.LogFields {
	return watermill.LogFields{"topic": topic, "message_uuid": msg.UUID, "stack": string(debug.Stack())}
}

func panicked(reason any) error {
	if err, ok := reason.(error); ok {
		return fmt.Errorf("%T panicked: %w", reason, err)
	}
	return fmt.Errorf("panicked: %v", reason)
}
