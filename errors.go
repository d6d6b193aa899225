package redisstream

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	// ErrPublisherClosed is returned by Publish after Close. Nothing was sent.
	ErrPublisherClosed = errors.New("publisher is closed")

	// ErrSubscriberClosed is returned by Subscribe and SubscribeInitialize after Close.
	ErrSubscriberClosed = errors.New("subscriber is closed")

	// ErrInvalidConfig is wrapped by every error about a field of a configuration; the
	// error's text names the field.
	ErrInvalidConfig = errors.New("invalid configuration")

	// ErrInvalidEntry is wrapped by the errors of the Unmarshalers of this package: the entry
	// is not in their format.
	ErrInvalidEntry = errors.New("entry is not in the expected format")

	// ErrNotReplicated is wrapped by the error of a Publish that put messages into the master's stream, and of which
	// fewer than PublisherConfig.WaitReplicas replicas said within WaitTimeout that they have them. They are in
	// PublishError.Uncertain: a failover may lose them or keep them.
	ErrNotReplicated = stream.ErrNotReplicated
)

// PublishError is returned, wrapped or not, by a Publish that did not put all of its messages into
// the stream. Use errors.As to learn what became of each; within each list the messages keep the
// order of the call.
type PublishError struct {
	Topic string
	// Published are in the stream.
	Published []*message.Message
	// Failed are certainly not in the stream: the server refused them, or they were not sent, or not as a whole. Publishing them
	// again duplicates nothing, but they come behind those in Published.
	Failed []*message.Message
	// Uncertain were sent, but no reply came within the client's time-outs, or too few replicas have them (ErrNotReplicated): they
	// may be in the stream. Publishing them again delivers them at least once.
	Uncertain []*message.Message
	// Err is why the first of the messages that are not in Published is not.
	Err error
}

// Error says how many messages met which fate, and why.
func (e *PublishError) Error() string {
	return fmt.Sprintf("publish to %q: %d messages published, %d failed, %d uncertain: %v",
		e.Topic, len(e.Published), len(e.Failed), len(e.Uncertain), e.Err)
}

// Unwrap returns Err.
func (e *PublishError) Unwrap() error { return e.Err }
