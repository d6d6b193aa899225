package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// exampleClient replaces the client that redisstream.Connect returns.
func exampleClient() (client redis.UniversalClient, disconnect func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	client, err = redisstream.Connect(context.Background(), "redis://"+server.Addr())
	if err != nil {
		panic(err)
	}
	return client, func() {
		_ = client.Close()
		server.Close()
	}
}

// publishTexts publishes messages with the given payloads.
func publishTexts(client redis.UniversalClient, topic string, payloads ...string) {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		panic(err)
	}
	defer publisher.Close()
	for _, payload := range payloads {
		if err := publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte(payload))); err != nil {
			panic(err)
		}
	}
}

// go-redis has one logger for the whole process. RedisLogger passes its lines on to a logger of
// Watermill.
func ExampleRedisLogger() {
	logger := watermill.NewStdLogger(false, false)
	redis.SetLogger(redisstream.RedisLogger(logger))
	// Output:
}

func ExamplePublisher() {
	client, disconnect := exampleClient()
	defer disconnect()

	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{
		Client: client,
		MaxLen: 100_000, // keep about this number of entries
	}, watermill.NewStdLogger(false, false))
	if err != nil {
		panic(err)
	}
	defer publisher.Close()

	// The messages of one call are added to the stream in order.
	err = publisher.Publish("orders",
		message.NewMessage(watermill.NewUUID(), []byte("coffee")),
		message.NewMessage(watermill.NewUUID(), []byte("tea")),
	)
	if failed, ok := errors.AsType[*redisstream.PublishError](err); ok {
		fmt.Println("publish again:", len(failed.Failed)+len(failed.Uncertain))
	}

	length, _ := client.XLen(context.Background(), "orders").Result()
	fmt.Println("entries:", length)
	// Output: entries: 2
}

func ExampleSubscriber() {
	client, disconnect := exampleClient()
	defer disconnect()
	publishTexts(client, "orders", "coffee", "tea", "cake")

	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        client,
		ConsumerGroup: "kitchen",
	}, watermill.NewStdLogger(false, false))
	if err != nil {
		panic(err)
	}
	defer subscriber.Close()

	messages, err := subscriber.Subscribe(context.Background(), "orders")
	if err != nil {
		panic(err)
	}
	for range 3 {
		msg := <-messages
		fmt.Println(string(msg.Payload))
		msg.Ack() // the next message comes after Ack; after Nack the same one comes again
	}
	// Output:
	// coffee
	// tea
	// cake
}

func ExampleEntryFromContext() {
	client, disconnect := exampleClient()
	defer disconnect()
	publishTexts(client, "orders", "coffee")

	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        client,
		ConsumerGroup: "kitchen",
	}, nil)
	if err != nil {
		panic(err)
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(context.Background(), "orders")
	if err != nil {
		panic(err)
	}

	for range 2 {
		msg := <-messages
		entry, _ := redisstream.EntryFromContext(msg.Context())
		fmt.Printf("%s from %q for group %q, delivery %d\n", msg.Payload, entry.Stream, entry.Group, entry.Deliveries)
		if entry.Deliveries == 1 {
			msg.Nack()
		} else {
			msg.Ack()
		}
	}
	// Output:
	// coffee from "orders" for group "kitchen", delivery 1
	// coffee from "orders" for group "kitchen", delivery 2
}

// A handler that uses the entry of its message can be tested without a server.
func ExampleContextWithEntry() {
	handler := redisstream.RecordError(func(msg *message.Message) ([]*message.Message, error) {
		entry, _ := redisstream.EntryFromContext(msg.Context())
		if entry.Deliveries > 2 {
			return nil, errors.New("too many deliveries")
		}
		return nil, nil
	})

	msg := message.NewMessage("1", []byte("coffee"))
	msg.SetContext(redisstream.ContextWithEntry(context.Background(), redisstream.Entry{Stream: "orders", Deliveries: 3}))
	_, _ = handler(msg)
	fmt.Println(redisstream.RecordedError(msg.Context()))
	// Output: too many deliveries
}

func ExampleNewPubSub() {
	client, disconnect := exampleClient()
	defer disconnect()

	pubSub, err := redisstream.NewPubSub(
		redisstream.PublisherConfig{Client: client},
		redisstream.SubscriberConfig{Client: client, ConsumerGroup: "kitchen"},
		watermill.NewStdLogger(false, false),
	)
	if err != nil {
		panic(err)
	}
	defer pubSub.Close()

	if err := pubSub.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte("coffee"))); err != nil {
		panic(err)
	}
	messages, err := pubSub.Subscribe(context.Background(), "orders")
	if err != nil {
		panic(err)
	}
	msg := <-messages
	fmt.Println(string(msg.Payload))
	msg.Ack()
	// Output: coffee
}

// With an OrderingKey, messages of different customers are handled in parallel, and those of one
// customer one at a time.
func ExampleSubscriberConfig_orderingKey() {
	client, disconnect := exampleClient()
	defer disconnect()
	publishTexts(client, "orders", "ann:coffee", "bob:tea", "ann:cake", "bob:pie")

	customer := func(msg *message.Message) string {
		name, _, _ := strings.Cut(string(msg.Payload), ":")
		return name
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        client,
		ConsumerGroup: "kitchen",
		MaxInFlight:   16,
		OrderingKey:   customer,
	}, nil)
	if err != nil {
		panic(err)
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(context.Background(), "orders")
	if err != nil {
		panic(err)
	}

	first, second := <-messages, <-messages // neither is acked yet
	fmt.Println("two customers at a time:", customer(first) != customer(second))
	first.Ack()
	second.Ack()
	for range 2 {
		(<-messages).Ack()
	}
	// Output: two customers at a time: true
}

// headline is a user's format with one field: "uuid payload".
type headline struct{}

func (headline) Marshal(_ string, msg *message.Message) (map[string]any, error) {
	return map[string]any{"line": msg.UUID + " " + string(msg.Payload)}, nil
}

func (headline) Unmarshal(_ string, fields map[string]any) (*message.Message, error) {
	line, _ := fields["line"].(string)
	uuid, payload, ok := strings.Cut(line, " ")
	if !ok {
		return nil, fmt.Errorf("%w: %q is not a line", redisstream.ErrInvalidEntry, line)
	}
	return message.NewMessage(uuid, []byte(payload)), nil
}

func ExampleMarshaler() {
	client, disconnect := exampleClient()
	defer disconnect()

	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{
		Client:    client,
		Marshaler: headline{},
	}, nil)
	if err != nil {
		panic(err)
	}
	defer publisher.Close()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        client,
		ConsumerGroup: "readers",
		Unmarshaler:   headline{},
	}, nil)
	if err != nil {
		panic(err)
	}
	defer subscriber.Close()

	if err := publisher.Publish("news", message.NewMessage("1", []byte("rain tomorrow"))); err != nil {
		panic(err)
	}
	messages, err := subscriber.Subscribe(context.Background(), "news")
	if err != nil {
		panic(err)
	}
	msg := <-messages
	fmt.Println(msg.UUID, string(msg.Payload))
	msg.Ack()
	// Output: 1 rain tomorrow
}
