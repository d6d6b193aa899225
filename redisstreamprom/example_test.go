package redisstreamprom_test

import (
	"net/http"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/redisstreamprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
)

// One Observer for all publishers and subscribers of a process.
func Example() {
	metrics := redisstreamprom.New(redisstreamprom.Config{})
	prometheus.MustRegister(metrics)
	http.Handle("/metrics", promhttp.Handler())

	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()
	logger := watermill.NewStdLogger(false, false)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Observer: metrics}, logger)
	if err != nil {
		panic(err)
	}
	defer publisher.Close()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: "kitchen", Observer: metrics,
	}, logger)
	if err != nil {
		panic(err)
	}
	defer subscriber.Close()
	// Output:
}
