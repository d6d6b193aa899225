// The deduplicate example handles each order once, although its producer publishes orders twice:
//
//	go run ./examples/deduplicate
//
// It needs no Redis; set REDIS_URL to use one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/examples/internal/server"
	"github.com/redis/go-redis/v9"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()
	topic := "deduplicate-" + watermill.NewShortUUID() // each run has its own stream, and its own keys
	defer client.Del(ctx, topic)
	if err := publishTwice(client, topic, "coffee", "tea", "cake"); err != nil {
		return err
	}
	return serve(ctx, client, topic, out)
}

// publishTwice publishes as a producer does that did not hear of its first try.
func publishTwice(client redis.UniversalClient, topic string, orders ...string) error {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	for _, order := range orders {
		msg := message.NewMessage(watermill.NewUUID(), []byte(order))
		if err := publisher.Publish(topic, msg, msg); err != nil {
			return err
		}
	}
	return publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte("closing time")))
}

// serve handles orders until closing time.
func serve(ctx context.Context, client redis.UniversalClient, topic string, out io.Writer) error {
	repository, err := redisstream.NewKeyRepository(redisstream.KeyRepositoryConfig{
		Client: client, Prefix: topic + ":dedup:", Window: time.Minute,
	})
	if err != nil {
		return err
	}
	deduplicator := middleware.Deduplicator{
		KeyFactory: func(msg *message.Message) (string, error) { return msg.UUID, nil },
		Repository: repository,
		Timeout:    5 * time.Second,
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: "kitchen"}, nil)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	router, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		return err
	}
	router.AddMiddleware(deduplicator.Middleware)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	router.AddConsumerHandler("cook", topic, subscriber, func(msg *message.Message) error {
		return cook(msg, out, stop)
	})
	return router.Run(ctx)
}

var errNoHotWater = errors.New("out of hot water")

// cook fails at the first delivery of the tea. Its redelivery is no duplicate.
func cook(msg *message.Message, out io.Writer, closeKitchen func()) error {
	order := string(msg.Payload)
	entry, _ := redisstream.EntryFromContext(msg.Context())
	switch {
	case order == "closing time":
		closeKitchen()
	case order == "tea" && entry.Deliveries == 1:
		fmt.Fprintf(out, "%s: %v, it comes again\n", order, errNoHotWater)
		return errNoHotWater
	}
	fmt.Fprintln(out, order)
	return nil
}
