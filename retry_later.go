package redisstream

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/subscription"
)

// RetryAfter asks for a message to come again after d at the earliest, to its consumer group only: no
// other group sees it again. Nack the message then, or return an error to Watermill's Router. With 0
// or less it comes again at once. NackBackoff is not used. The last call counts. It has no effect on
// a message that is acked, or of another Pub/Sub.
//
// A wait of up to half of ClaimMinIdle passes in this process, which keeps the lease of the message.
// Messages that must keep their order with it wait for it: with MaxInFlight 1 all that follow, with
// OrderingKey those of its key. Others go on. RetryOutOfOrder lets all go on.
//
// For a longer wait the message is acknowledged and put into RetryQueueKey(topic, group), in one
// step on the server (a script). Nothing waits for it, and it does not depend on this process: any
// member of the group gets it when the time is over, before messages that no handler has had. It has
// the same Entry.ID, metadata and payload, and its Deliveries are counted on. Trimming of the stream
// does not reach it. If the server refuses that, for lack of a right or because the message has more
// than 3,450 fields, the wait passes in this process; a line in the log says so.
//
// A message that another process put into the queue is late by at most ClaimInterval. If Close comes
// first, a message that waits in this process is put into the queue, too. In a fan-out and with
// AutoAck every wait passes in this process.
func RetryAfter(msg *message.Message, d time.Duration) {
	recordRetry(msg.Context(), subscription.Retry{Wait: d})
}

// RetryOutOfOrder is RetryAfter, but no message waits for this one: those that follow it are delivered
// before it, also those with its key.
func RetryOutOfOrder(msg *message.Message, d time.Duration) {
	recordRetry(msg.Context(), subscription.Retry{Wait: d, OutOfOrder: true})
}

func recordRetry(ctx context.Context, retry subscription.Retry) {
	retry.Asked, retry.Wait = true, max(retry.Wait, 0)
	decide(ctx, func(d *subscription.Decision) { d.Retry = retry })
}

// Reject asks for a message not to be delivered again, however often it was delivered: after a nack
// it is moved to DeadLetterTopic(topic), with reason as its error (DeadLetterErrorKey). Nack the
// message then, or return an error to Watermill's Router. Where there are no dead letters (a fan-out,
// AutoAck, a subscription to a dead-letter topic) it is skipped, with a line in the log; in a group
// it stays pending. It has no effect on a message that is acked, or of another Pub/Sub.
func Reject(msg *message.Message, reason error) {
	ctx := msg.Context()
	recordFailure(ctx, reason)
	decide(ctx, func(d *subscription.Decision) { d.Reject = true })
}

// RecordedRetry returns the wait that RetryAfter or RetryOutOfOrder recorded last for the delivery
// that ctx belongs to, and whether one did. It is for unit tests of handlers; see ContextWithEntry.
func RecordedRetry(ctx context.Context) (wait time.Duration, ok bool) {
	retry := decisionOf(ctx).Retry
	return retry.Wait, retry.Asked
}

// RecordedReject reports whether Reject was called for the delivery that ctx belongs to. It is for
// unit tests of handlers; RecordedError returns the reason.
func RecordedReject(ctx context.Context) bool { return decisionOf(ctx).Reject }

// RetryQueueKey returns the sorted set of the messages of topic that wait to be retried by a
// consumer group: "{orders}:retry:billing" for "orders" and "billing". The hash with the same name
// and ":entries" behind it has their fields. Both are in the hash slot of topic, as DeadLetterTopic
// explains.
func RetryQueueKey(topic, group string) string { return inSlotOf(topic, ":retry:"+group) }
