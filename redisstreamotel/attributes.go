package redisstreamotel

import "go.opentelemetry.io/otel/attribute"

// Attributes of spans that the semantic conventions do not have. None of them holds a payload or the
// value of a metadata key.
const (
	// EntryIDKey is the ID of the message's entry in its stream.
	EntryIDKey = attribute.Key("messaging.redis.message.entry_id")

	// DeliveryAttemptKey counts the deliveries of the entry, this one included: Entry.Deliveries.
	DeliveryAttemptKey = attribute.Key("messaging.redis.message.delivery_attempt")

	// OutcomeKey is what became of a message that was not published or handled: one of the
	// Outcome constants. A span without it is that of a message that was.
	OutcomeKey = attribute.Key("messaging.redis.message.outcome")

	// RetryDelayKey is the wait that redisstream.RetryAfter asked for, in seconds.
	RetryDelayKey = attribute.Key("messaging.redis.message.retry_delay")

	// PublishedCountKey, FailedCountKey and UncertainCountKey count the messages of a call of
	// Publish that failed by what became of them: the lengths of PublishError's lists.
	PublishedCountKey = attribute.Key("messaging.redis.batch.published_count")
	FailedCountKey    = attribute.Key("messaging.redis.batch.failed_count")
	UncertainCountKey = attribute.Key("messaging.redis.batch.uncertain_count")

	// LinkKey tells why a span is linked to another: one of the Link constants.
	LinkKey = attribute.Key("messaging.redis.link")
)

// Values of OutcomeKey.
const (
	OutcomeFailed     = "failed"      // publish: certainly not in the stream
	OutcomeUncertain  = "uncertain"   // publish: may be in the stream
	OutcomeRedeliver  = "redeliver"   // process: nacked
	OutcomeRetry      = "retry"       // process: nacked after RetryAfter or RetryOutOfOrder
	OutcomeDeadLetter = "dead_letter" // process: nacked after Reject
)

// Values of LinkKey.
const (
	LinkCreation        = "creation"         // the span whose context is in the message
	LinkPreviousAttempt = "previous_attempt" // the process span of an earlier delivery of the entry
	LinkAmbient         = "ambient"          // the span in the context of Subscribe or Router.Run
)
