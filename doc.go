// Package redisstream is a Watermill Pub/Sub on Redis Streams.
//
// A [Publisher] adds messages to a stream (XADD), a [Subscriber] reads them through a consumer
// group (XREADGROUP), acknowledges what is acked (XACK) and delivers again what is nacked. Every message that
// Publish accepted reaches a handler at least once, whatever dies on the way; while a live subscriber
// works on an entry, no other gets it; and with the default configuration a subscription delivers
// strictly in stream order, one unacknowledged message at a time.
//
// It runs on Redis 7.0 and newer, on Valkey, in clusters and behind Sentinel. The user that it connects as
// needs the stream commands and EVALSHA/EVAL; nothing of @dangerous or @admin.
//
//	client, err := redisstream.Connect(ctx, "redis://localhost:6379")
//	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, logger)
//	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
//		Client:        client,
//		ConsumerGroup: "billing",
//	}, logger)
//	messages, err := subscriber.Subscribe(ctx, "orders")
//
// The default format on the wire is that of github.com/ThreeDotsLabs/watermill-redisstream, so that both
// can share streams and groups while you migrate.
package redisstream
