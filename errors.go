package redisstream

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	// ErrPublisherClosed is wrapped by the error of Publish after Close, and of a Publish that
	// Close ends while it waits for the server. What the call did not publish was not sent.
	ErrPublisherClosed = errors.New("publisher is closed")

	// ErrSubscriberClosed is returned by Subscribe and SubscribeInitialize after Close.
	ErrSubscriberClosed = errors.New("subscriber is closed")

	// ErrInvalidConfig is wrapped by the errors of NewPublisher, NewSubscriber and NewPubSub. The
	// error's text names the field.
	ErrInvalidConfig = errors.New("invalid configuration")

	// ErrInvalidEntry is wrapped by the errors of this package's Unmarshalers when an entry is not
	// in their format. Wrap it in your own Unmarshaler, too. A Subscriber makes such an entry a
	// dead letter.
	ErrInvalidEntry = errors.New("entry is not in the expected format")

	// ErrNotReplicated is wrapped by the error of Publish when messages are in the master's stream,
	// but fewer than PublisherConfig.WaitReplicas replicas confirmed them within WaitTimeout. The
	// messages are in PublishError.Uncertain: a failover may lose them or keep them.
	ErrNotReplicated = stream.ErrNotReplicated
)

// PublishError is returned by Publish when not all messages of the call are in the stream. Use
// errors.As to get it. Each message of the call is in one of the three lists, which keep the order
// of the call.
type PublishError struct {
	Topic string
	// Published are in the stream.
	Published []*message.Message
	// Failed are certainly not in the stream: the server refused them, or they were not sent
	// completely. To publish them again duplicates nothing, but puts them after those in Published.
	Failed []*message.Message
	// Uncertain may be in the stream: they were sent, but no reply came within the client's
	// time-outs, or too few replicas have them (ErrNotReplicated). To publish them again delivers
	// them at least once. With PublisherConfig.Idempotent no reply came until the message's context
	// ended, the Publisher was closed, or 60 s were over.
	Uncertain []*message.Message
	// Err is the reason for the first message that is not in Published.
	Err error
}

// Error counts the messages of each list and gives the reason.
func (e *PublishError) Error() string {
	return fmt.Sprintf("publish to %q: %d messages published, %d failed, %d uncertain: %v",
		e.Topic, len(e.Published), len(e.Failed), len(e.Uncertain), e.Err)
}

// Unwrap returns Err.
func (e *PublishError) Unwrap() error { return e.Err }
