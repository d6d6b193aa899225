// The router example runs a Watermill Router until it is interrupted. Orders become invoices. An
// order that fails is retried, and one that fails every time goes to a poison queue:
//
//	go run ./examples/router
//
// It needs no Redis; set REDIS_URL to use one.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/examples/internal/server"
	"github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run returns when ctx has ended and all running handlers have finished.
func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()

	lines := log.New(out, "", 0) // handlers run in parallel
	lines.Println("Press Ctrl-C to stop.")
	if err := serve(ctx, client, lines); err != nil {
		return err
	}
	lines.Println("Stopped. What was being handled is done.")
	return nil
}

func serve(ctx context.Context, client redis.UniversalClient, lines *log.Logger) error {
	topics := newTopics()
	defer topics.remove(context.WithoutCancel(ctx), client)

	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        client,
		ConsumerGroup: "billing",
	}, nil)
	if err != nil {
		return err
	}
	defer subscriber.Close() // the Router does not close it when its context ends
	router, err := newRouter(topics, publisher, subscriber, lines)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	var customers sync.WaitGroup
	customers.Go(func() { order(ctx, publisher, topics.orders, lines) })
	defer customers.Wait()
	defer cancel()
	return router.Run(ctx)
}

// order publishes orders until ctx ends.
func order(ctx context.Context, publisher message.Publisher, topic string, lines *log.Logger) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		msg := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, "order %d", n))
		if err := publisher.Publish(topic, msg); err != nil {
			lines.Println(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
