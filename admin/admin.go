package admin

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// DefaultHungAfter is the default of Config.HungAfter.
const DefaultHungAfter = 5 * time.Minute

// Config configures an Admin. Only Client is required.
type Config struct {
	// Client is the client that asks the server. Required. It stays open.
	Client redis.UniversalClient

	// Unmarshaler decodes entries. Set the counterpart of the publishers' Marshaler. Defaults to
	// redisstream.MsgpackMarshaler{}.
	Unmarshaler redisstream.Unmarshaler

	// HungAfter is how long a handler may have a message before its consumer counts as hung.
	// Make it longer than handlers take. Defaults to DefaultHungAfter.
	HungAfter time.Duration
}

// Admin inspects and repairs topics. It is safe for concurrent use, and needs no Close.
//
// A topic with partitions is one topic: its methods take the topic's name and work on all partitions,
// also on those that drain; one GET finds them. What is wrong in one of them ends an action there. With
// the redisstream.PartitionTopic of a partition they work on that one.
type Admin struct {
	client      redis.UniversalClient
	unmarshaler redisstream.Unmarshaler
	hungAfter   time.Duration
}

// Errors that callers can act on. Others are those of the server.
var (
	// ErrInvalidConfig: a field of Config is missing or out of range.
	ErrInvalidConfig = redisstream.ErrInvalidConfig
	// ErrNoTopic: there is no stream with that name.
	ErrNoTopic = errors.New("the topic does not exist")
	// ErrNoGroup: the topic has no consumer group with that name.
	ErrNoGroup = errors.New("the consumer group does not exist")
	// ErrNoConsumer: the consumer group has no consumer with that name.
	ErrNoConsumer = errors.New("the consumer does not exist")
	// ErrNoEntry: the topic has no entry with that ID, or the group has it not pending.
	ErrNoEntry = errors.New("the entry does not exist")
	// ErrInUse: the group or the consumer is alive. Stop its members first.
	ErrInUse = errors.New("the group or the consumer is in use")
	// ErrInvalidID: a text is not the ID of an entry.
	ErrInvalidID = errors.New("not the ID of an entry")
	// ErrAmbiguousID: several partitions of the topic have an entry with that ID. Give the name of one.
	ErrAmbiguousID = redisstream.ErrAmbiguousID
)

// New returns an Admin. The error wraps ErrInvalidConfig and names the field; the server is not
// asked anything yet.
func New(config Config) (*Admin, error) {
	switch {
	case config.Client == nil:
		return nil, fmt.Errorf("%w: Client is nil", ErrInvalidConfig)
	case config.HungAfter < 0:
		return nil, fmt.Errorf("%w: HungAfter is negative", ErrInvalidConfig)
	}
	if err := stream.Supported(config.Client); err != nil {
		return nil, fmt.Errorf("%w: Client: %w", ErrInvalidConfig, err)
	}
	if config.Unmarshaler == nil {
		config.Unmarshaler = redisstream.MsgpackMarshaler{}
	}
	return &Admin{
		client: config.Client, unmarshaler: config.Unmarshaler, hungAfter: cmp.Or(config.HungAfter, DefaultHungAfter),
	}, nil
}

// inspect returns what asks for the state of a topic.
func (a *Admin) inspect(topic string) *stream.Inspection {
	return stream.Inspect(a.client, keysOf(topic))
}

func keysOf(topic string) stream.InspectedKeys {
	return stream.InspectedKeys{
		Stream: topic, DeadLetters: redisstream.DeadLetterTopic(topic), Delayed: redisstream.DelayedKey(topic),
		RetryQueues: redisstream.RetryQueueKey(topic, ""), Pauses: redisstream.PauseKey(topic, ""),
		MembersOfGroups: redisstream.MembersKey(topic, ""), Owners: redisstream.OwnerKey(topic, ""),
	}
}

// topicError adds the topic to an error of the server.
func topicError(topic string, err error) error {
	if stream.IsNoStream(err) {
		err = ErrNoTopic
	}
	return fmt.Errorf("topic %q: %w", topic, stream.Redact(err))
}

// groupError adds the topic and the group to an error of the server.
func groupError(topic, group string, err error) error {
	switch {
	case stream.IsNoStream(err):
		return topicError(topic, err)
	case stream.IsGroupGone(err):
		err = ErrNoGroup
	}
	return fmt.Errorf("topic %q, group %q: %w", topic, group, stream.Redact(err))
}
