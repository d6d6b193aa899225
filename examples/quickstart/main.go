// The quickstart example publishes a few messages, handles them, and nacks one of them once:
//
//	go run ./examples/quickstart
//
// It needs no Redis; set REDIS_URL to use one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/examples/internal/server"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var orders = []string{"coffee", "tea", "cake"}

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()

	topic := "quickstart-" + watermill.NewShortUUID() // each run has its own stream
	defer client.Del(ctx, topic)

	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()

	for _, order := range orders {
		if err := publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte(order))); err != nil {
			return err
		}
		fmt.Fprintln(out, "published", order)
	}

	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        client,
		ConsumerGroup: "kitchen",
	}, nil)
	if err != nil {
		return err
	}
	defer subscriber.Close()

	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	for handled := 0; handled < len(orders); {
		msg, ok := <-messages
		if !ok {
			return ctx.Err()
		}
		if handle(msg, out) {
			handled++
		}
	}
	fmt.Fprintf(out, "All %d orders are handled.\n", len(orders))
	return nil
}

// handle nacks the first delivery of the tea, and acks everything else.
func handle(msg *message.Message, out io.Writer) bool {
	entry, _ := redisstream.EntryFromContext(msg.Context())
	ok := string(msg.Payload) != "tea" || entry.Deliveries > 1
	verdict := "acked"
	if !ok {
		verdict = "nacked: out of hot water, it comes again"
	}
	fmt.Fprintf(out, "received  %-6s  entry %s, delivery %d: %s\n", msg.Payload, entry.ID, entry.Deliveries, verdict)
	if !ok {
		return !msg.Nack()
	}
	return msg.Ack()
}
