package redisstream

import (
	"time"

	"github.com/millrace/redisstream/internal/subscription"
)

// Subscription identifies the subscription of an event.
type Subscription struct {
	Topic string
	// Stream is the stream of the partition that it reads, with SubscriberConfig.Partitions; else empty.
	// As a label of a metric it has as many values as there are partitions.
	Stream string
	Group  string // the consumer group; empty in a fan-out
	// Consumer is the name of the subscription in the group; empty in a fan-out. Most names are
	// generated, so as a label of a metric it grows without a bound.
	Consumer string
}

// PublishEvent is one call of Publish that ended. Published, Failed and Uncertain count its messages
// as the lists of PublishError have them. A delayed message counts when the server has stored it.
type PublishEvent struct {
	Topic     string
	Published int
	Failed    int
	Uncertain int
	Bytes     int           // of the fields of the published messages
	Duration  time.Duration // of the call, with all attempts
	Err       error         // what Publish returned: nil or a *PublishError
}

// PipelineEvent is one pipeline of a Publisher. Calls of Publish share pipelines.
type PipelineEvent struct {
	Topic    string
	Messages int
	Calls    int           // of Publish, or parts of them
	Bytes    int           // about the bytes on the wire
	Duration time.Duration // until the last reply, or the client's time-out
}

// DeliveryEvent is one delivery of a message to a handler.
type DeliveryEvent struct {
	Subscription

	// Deliveries counts the deliveries of the entry, this one included; see Entry. Above 1 this is a
	// redelivery.
	Deliveries int64
	// Delay is the time since the entry was added to the stream: the server's clock at that time,
	// which the entry's ID has, against the clock of this process. It is 0 if the clocks differ so
	// much that it would be negative. For a delayed message it counts from the due time. It is set
	// for redeliveries too.
	Delay time.Duration
}

// HandlerEvent is a message that its handler settled.
type HandlerEvent struct {
	Subscription

	Duration time.Duration // since the handler received the message
	Nacked   bool          // otherwise it was acked
}

// AckEvent is a number of entries that the server acknowledged with one command.
type AckEvent struct {
	Subscription

	Entries int
}

// TakeOverEvent is a number of entries that were claimed together.
type TakeOverEvent struct {
	Subscription

	Entries  int // their leases were over: the consumer was idle for ClaimMinIdle
	Released int // further entries, which other consumers released when they ended
}

// LeaseLossEvent is a number of entries that the subscription lost while it held them. They are
// handled twice.
type LeaseLossEvent struct {
	Subscription

	Entries int
}

// DeadLetterReason is the kind of reason for which an entry became a dead letter.
type DeadLetterReason string

// The kinds of reasons for dead letters.
const (
	DeadLetterOverLimit   DeadLetterReason = subscription.ReasonOverLimit   // it was delivered MaxDeliveries times
	DeadLetterRejected    DeadLetterReason = subscription.ReasonRejected    // its handler called Reject
	DeadLetterUndecodable DeadLetterReason = subscription.ReasonUndecodable // the Unmarshaler or OrderingKey failed
	DeadLetterGivenUp     DeadLetterReason = subscription.ReasonGivenUp     // another client gave it up (XNACK FATAL)
)

// DeadLetterEvent is an entry that became a dead letter.
type DeadLetterEvent struct {
	Subscription

	Reason DeadLetterReason
}

// ParkEvent is a number of entries that were put into the retry queue of the group together.
type ParkEvent struct {
	Subscription

	Entries int
}

// TrimEvent is a number of entries that were dropped before they were read.
type TrimEvent struct {
	Subscription

	Entries int64
}

// ReadAheadEvent is what a subscription holds: entries that wait for a handler, that handlers have,
// and whose acks are not sent yet.
type ReadAheadEvent struct {
	Subscription

	Entries int
	Bytes   int // of their fields
}

// ReconnectEvent is a connection that was opened again.
type ReconnectEvent struct {
	Subscription
}

// CloseEvent is the end of a subscription or of a Publisher.
type CloseEvent struct {
	Subscription // zero for a Publisher

	Duration time.Duration
	Complete bool // false: a command was still under way CloseTimeout and 0.9 s after the end
}
