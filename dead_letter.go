package redisstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
)

// What a dead letter has beyond the fields of the entry that it was. A Subscriber to a dead-letter
// topic finds them in the metadata of the message.
const (
	DeadLetterReasonKey     = "_dead_letter_reason"     // why it was not delivered again
	DeadLetterErrorKey      = "_dead_letter_error"      // what its handler returned last: see NackWithReason and RecordError
	DeadLetterStreamKey     = "_dead_letter_stream"     // the topic that it was in
	DeadLetterIDKey         = "_dead_letter_id"         // its ID there
	DeadLetterGroupKey      = "_dead_letter_group"      // the consumer group that gave it up
	DeadLetterConsumerKey   = "_dead_letter_consumer"   // the consumer that had it last
	DeadLetterDeliveriesKey = "_dead_letter_deliveries" // how often it was delivered to a handler
	DeadLetterTimeKey       = "_dead_letter_time"       // when it was given up, RFC 3339
)

const (
	deadLetterPrefix = "_dead_letter_"
	deadLetterSuffix = ":dead-letter"
)

// DeadLetterTopic returns the stream that takes the dead letters of topic: "{orders}:dead-letter" for "orders". Both
// are in one hash slot of a cluster; a topic that has a hash tag keeps it. (A topic with a "}" and
// without a tag can't be given one: in a cluster its entries can't be dead-lettered, and stay pending.)
//
// It grows without a bound unless SubscriberConfig.DeadLetterMaxLen caps it, or somebody replays or drops letters. Topics such as
// "orders" and "{orders}" share it: DeadLetterStreamKey says from which of them a letter came.
func DeadLetterTopic(topic string) string {
	if hasHashTag(topic) || strings.Contains(topic, "}") {
		return topic + deadLetterSuffix
	}
	return "{" + topic + "}" + deadLetterSuffix
}

// hasHashTag is the rule of the Redis cluster specification: what stands between the first "{" and the
// first "}" behind it, unless it is empty.
func hasHashTag(key string) bool {
	_, rest, opened := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return opened && closed && tag != ""
}

func isDeadLetterTopic(topic string) bool { return strings.HasSuffix(topic, deadLetterSuffix) }

// deadLetterer returns what moves an entry of the group to the dead-letter topic.
func (c SubscriberConfig) deadLetterer(group *stream.Group, origin Entry) func(context.Context, subscription.DeadLetter) (stream.DeadLetterResult, error) {
	target := stream.DeadLetterTarget{Stream: DeadLetterTopic(origin.Stream), MaxLen: c.DeadLetterMaxLen}
	return func(ctx context.Context, letter subscription.DeadLetter) (stream.DeadLetterResult, error) {
		fields := []any{
			DeadLetterReasonKey, letter.Reason.Error(),
			DeadLetterStreamKey, origin.Stream,
			DeadLetterIDKey, letter.ID,
			DeadLetterGroupKey, origin.Group,
			DeadLetterConsumerKey, origin.Consumer,
			DeadLetterDeliveriesKey, letter.Deliveries,
			DeadLetterTimeKey, time.Now().UTC().Format(time.RFC3339Nano),
		}
		if letter.Failure != nil {
			fields = append(fields, DeadLetterErrorKey, letter.Failure.Error())
		}
		return group.DeadLetter(ctx, letter.ID, target, fields)
	}
}

// unmarshalSafely returns a panic as an error: it is the reason why many a letter is one.
func unmarshalSafely(u Unmarshaler, id string, fields stream.Fields) (msg *message.Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("Unmarshaler panicked: %v", cause)
		}
	}()
	return unmarshalEntry(u, id, fields)
}

// unmarshalDeadLetter decodes an entry of a dead-letter topic. One that could not be decoded in
// its own topic either becomes a message with the entry's fields, as a JSON object, for a payload.
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
