// Package redisstream is a Watermill Pub/Sub on Redis Streams.
//
// # Publishing
//
// A [Publisher] adds messages to a stream (XADD), which the topic names. When Publish returns nil,
// the server has all messages of the call. Its error is a [PublishError], which tells for each
// message whether it is in the stream. A deadline of a message's context lets Publish wait for a
// server that is away.
//
// # Subscribing
//
// A [Subscriber] with a ConsumerGroup shares the entries of a stream with the other consumers of
// the group (XREADGROUP). It acknowledges what is acked (XACK) and redelivers what is nacked.
// Without a group it is a fan-out: each subscription gets every entry (XREAD).
//
// # What holds
//
//   - Each message that Publish accepted reaches a handler of each group at least once, whatever dies
//     on the way. Make handlers idempotent, or use [Commit].
//   - An entry has one worker: while a live subscriber has it, no other one gets it. A lease says who
//     has it. When its consumer is idle for ClaimMinIdle, another consumer takes it over.
//   - By default a subscription delivers strictly in stream order, one message at a time, also after a
//     nack. MaxInFlight allows more at a time, and OrderingKey keeps the order of each key.
//   - An entry that can't be decoded, or that is over the delivery limit (MaxDeliveries), becomes a dead
//     letter. [DeadLetters] lists them, [ReplayDeadLetters] moves them back.
//   - [RetryAfter] makes a message come again later, to its group only, and holds up no other for
//     long. [RetryLater] is the middleware for that.
//   - Close returns within CloseTimeout and a second. It sends every ack that was given, and releases
//     what no handler has for other consumers.
//
// # Transactions
//
// [Commit] applies the effects of a handler on the same Redis, publishes its messages and
// acknowledges its message in one step: exactly once. [CommitHandler] is the middleware for that. A
// [TxPublisher] also publishes in a transaction of your own. A [KeyRepository] finds messages that a
// producer published twice.
//
// # Servers
//
// It runs on Redis 7.0 and newer and on Valkey, in clusters and behind Sentinel; [Connect] makes a
// client for each. The user needs the stream commands, EVALSHA and EVAL, and nothing of @dangerous
// or @admin.
//
//	client, err := redisstream.Connect(ctx, "redis://localhost:6379")
//	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, logger)
//	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
//		Client:        client,
//		ConsumerGroup: "billing",
//	}, logger)
//	messages, err := subscriber.Subscribe(ctx, "orders")
//
// By default a stream grows without a bound: set MaxLen, MaxAge or TrimInterval in production.
//
// The default format on the wire is that of github.com/ThreeDotsLabs/watermill-redisstream, so that
// both can share streams and groups while you migrate.
//
// # Tests
//
// [ContextWithEntry] and [RecordedError] are for unit tests of handlers. Package redisstreamtest
// gives a test a Publisher and a Subscriber on an embedded server.
package redisstream
