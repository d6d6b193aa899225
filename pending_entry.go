package redisstream

import "github.com/millrace/redisstream/internal/stream"

// PendingEntry is an entry of the consumer group that a consumer was given and has not
// acknowledged: what SubscriberConfig.ShouldClaim decides about.
//
// ID is the entry's ID. Consumer is the name of the consumer that owns it. Idle is how long ago its
// lease began: it was delivered, or its lease was renewed. Deliveries is how often the entry was
// delivered, as the server counts; an entry that was read ahead, and that no handler has had,
// counts as delivered once.
type PendingEntry = stream.PendingEntry
