package redisstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// The fields of a dead letter beside those of its entry. A Subscriber to a dead-letter topic has
// them in the metadata of the message.
const (
	DeadLetterReasonKey     = "_dead_letter_reason"     // why it is a dead letter
	DeadLetterErrorKey      = "_dead_letter_error"      // its handler's last error: see NackWithReason and RecordError
	DeadLetterStreamKey     = "_dead_letter_stream"     // the topic of its entry
	DeadLetterIDKey         = "_dead_letter_id"         // the ID of its entry
	DeadLetterGroupKey      = "_dead_letter_group"      // the consumer group that dead-lettered it
	DeadLetterConsumerKey   = "_dead_letter_consumer"   // the consumer that had it last
	DeadLetterDeliveriesKey = "_dead_letter_deliveries" // how often it was delivered to a handler
	DeadLetterTimeKey       = "_dead_letter_time"       // when it became a dead letter, RFC 3339
)

const (
	deadLetterPrefix = "_dead_letter_"
	deadLetterSuffix = ":dead-letter"
)

// DeadLetterTopic returns the stream of the dead letters of topic: "{orders}:dead-letter" for
// "orders". Both are in one hash slot of a cluster. A topic with a hash tag keeps its tag. A topic
// with a "}" but without a tag can't get one: in a cluster its entries can't be dead-lettered and
// stay pending.
//
// The stream grows without a bound unless SubscriberConfig.DeadLetterMaxLen caps it, or dead
// letters are replayed or dropped. Topics such as "orders" and "{orders}" share it:
// DeadLetterStreamKey has the topic of each dead letter.
func DeadLetterTopic(topic string) string {
	return inSlotOf(topic, deadLetterSuffix)
}

// hasHashTag follows the Redis cluster specification: a hash tag is the text between the first "{"
// and the first "}" after it, unless that is empty.
func hasHashTag(key string) bool {
	_, rest, opened := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return opened && closed && tag != ""
}

func isDeadLetterTopic(topic string) bool { return strings.HasSuffix(topic, deadLetterSuffix) }

// deadLetters returns where the entries of topic go that are not delivered again. Those of a
// dead-letter topic stay where they are.
func (c SubscriberConfig) deadLetters(topic, consumer string) subscription.DeadLetters {
	if isDeadLetterTopic(topic) {
		return subscription.Skip{}
	}
	fields := func(letter subscription.DeadLetter) []any {
		fields := []any{
			DeadLetterReasonKey, letter.Reason.Error(),
			DeadLetterStreamKey, topic,
			DeadLetterIDKey, letter.ID,
			DeadLetterGroupKey, c.ConsumerGroup,
			DeadLetterConsumerKey, consumer,
			DeadLetterDeliveriesKey, letter.Deliveries,
			DeadLetterTimeKey, time.Now().UTC().Format(time.RFC3339Nano),
		}
		if letter.Failure != nil {
			fields = append(fields, DeadLetterErrorKey, letter.Failure.Error())
		}
		return fields
	}
	return subscription.DeadLetterStream{
		Target: stream.DeadLetterTarget{Stream: DeadLetterTopic(topic), MaxLen: c.DeadLetterMaxLen}, Fields: fields,
	}
}

// unmarshalSafely returns a panic of the Unmarshaler as an error: the entry may be a dead letter
// because of it.
func unmarshalSafely(u Unmarshaler, id string, fields stream.Fields) (msg *message.Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("Unmarshaler panicked: %v", cause)
		}
	}()
	return unmarshalEntry(u, id, fields)
}

// unmarshalDeadLetter decodes an entry of a dead-letter topic. If the entry can't be decoded, which
// may be why it is there, the message's payload is a JSON object of the entry's fields.
func unmarshalDeadLetter(u Unmarshaler, id string, fields stream.Fields) (*message.Message, error) {
	var original []string
	about := make(message.Metadata)
	for name, text := range fields.All() {
		if strings.HasPrefix(name, deadLetterPrefix) {
			about[fields.Own(name)] = fields.Own(text)
		} else {
			original = append(original, name, text)
		}
	}
	msg, err := unmarshalSafely(u, id, stream.NewFields(original...))
	if err != nil || msg == nil {
		payload, err := json.Marshal(stream.NewFields(original...).Map())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidEntry, err)
		}
		msg = message.NewMessage(id, payload)
	}
	for key, value := range about {
		msg.Metadata.Set(key, value)
	}
	return msg, nil
}
