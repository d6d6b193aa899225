// Package redisstreamprom has an Observer that makes Prometheus metrics of what a Publisher and a
// Subscriber do.
//
//	metrics := redisstreamprom.New(redisstreamprom.Config{})
//	prometheus.MustRegister(metrics)
//	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Observer: metrics}, logger)
//	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
//		Client: client, ConsumerGroup: "kitchen", Observer: metrics,
//	}, logger)
//
// One Observer serves all publishers and subscribers of a process. The page docs/metrics.md of the
// repository describes each metric.
package redisstreamprom
