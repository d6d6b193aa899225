// The delayed example takes orders, reminds of them later, and retries what fails after a pause that
// grows, without blocking the others: with Watermill's delay, PoisonQueue and requeuer, and Redis
// alone.
//
//	go run ./examples/delayed
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
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/components/requeuer"
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

// errHotWater is why the tea fails at first.
var errHotWater = errors.New("out of hot water")

// shop is an application with three topics.
type shop struct {
	orders, reminders, failed string

	client    redis.UniversalClient
	publisher message.Publisher
	out       io.Writer
	attempts  int // to make tea
	reminded  chan struct{}
	made      chan struct{}
}

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()
	prefix := "delayed-" + watermill.NewShortUUID() // each run has its own streams
	s := &shop{
		orders: prefix + "-orders", reminders: prefix + "-reminders", failed: prefix + "-failed",
		client: client, out: out, reminded: make(chan struct{}, 1), made: make(chan struct{}, 2),
	}
	defer client.Del(ctx, s.orders, s.reminders, s.failed)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	s.publisher = publisher
	router, err := s.router()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	<-router.Running()
	if err := s.order(ctx); err != nil {
		return err
	}
	for _, done := range []<-chan struct{}{s.made, s.made, s.reminded} {
		select {
		case <-done:
		case err := <-ended:
			return err
		}
	}
	stop()
	return <-ended
}

// order publishes two orders, and a reminder that is due later.
func (s *shop) order(ctx context.Context) error {
	reminder := message.NewMessage(watermill.NewUUID(), []byte("coffee"))
	delay.Message(reminder, delay.For(1500*time.Millisecond))
	if err := s.publisher.Publish(s.reminders, reminder); err != nil {
		return err
	}
	for msg, err := range redisstream.DelayedMessages(ctx, s.client, s.reminders) {
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "reminder of %s is due in a moment\n", msg.Fields["payload"])
	}
	for _, what := range []string{"tea", "coffee"} {
		if err := s.publisher.Publish(s.orders, message.NewMessage(watermill.NewUUID(), []byte(what))); err != nil {
			return err
		}
	}
	return nil
}

// router returns a Router with the handlers, and with a requeuer for what failed.
func (s *shop) router() (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	poison, err := middleware.PoisonQueue(s.publisher, s.failed)
	if err != nil {
		return nil, err
	}
	later := &middleware.DelayOnError{InitialInterval: 200 * time.Millisecond, MaxInterval: time.Minute, Multiplier: 2}
	kitchen, err := s.subscriber("kitchen")
	if err != nil {
		return nil, err
	}
	// The failed message gets its delay first, and then goes to the topic of failed messages.
	router.AddConsumerHandler("kitchen", s.orders, kitchen, s.prepare).AddMiddleware(poison, later.Middleware)
	reminders, err := s.subscriber("reminders")
	if err != nil {
		return nil, err
	}
	router.AddConsumerHandler("reminders", s.reminders, reminders, s.remind)
	failed, err := s.subscriber("requeuer")
	if err != nil {
		return nil, err
	}
	_, err = requeuer.NewRequeuer(requeuer.Config{
		Subscriber: failed, SubscribeTopic: s.failed, Publisher: s.publisher, Router: router,
		GeneratePublishTopic: func(params requeuer.GeneratePublishTopicParams) (string, error) {
			return params.Message.Metadata.Get(middleware.PoisonedTopicKey), nil
		},
	}, watermill.NopLogger{})
	return router, err
}

func (s *shop) subscriber(group string) (message.Subscriber, error) {
	return redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: s.client, ConsumerGroup: group}, nil)
}

// prepare fails twice for tea.
func (s *shop) prepare(msg *message.Message) error {
	if string(msg.Payload) == "tea" {
		s.attempts++
		if s.attempts < 3 {
			fmt.Fprintf(s.out, "tea: %v, it comes again later\n", errHotWater)
			return errHotWater
		}
	}
	fmt.Fprintf(s.out, "%s is ready\n", msg.Payload)
	s.made <- struct{}{}
	return nil
}

func (s *shop) remind(msg *message.Message) error {
	fmt.Fprintf(s.out, "reminder: fetch your %s\n", msg.Payload)
	s.reminded <- struct{}{}
	return nil
}
