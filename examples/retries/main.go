// The retries example makes orders in a kitchen. What fails is tried again after waits that grow,
// and nothing waits for it. Where no retry can help, the order becomes a dead letter. It is retried
// by the kitchen when the cause is fixed. Another group, the cashier, sees each order once.
//
//	go run ./examples/retries
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

var (
	errHotWater = errors.New("out of hot water")
	errRecipe   = errors.New("no recipe")
)

// shop is an application with one topic and two groups.
type shop struct {
	orders string
	client redis.UniversalClient
	out    io.Writer

	hasRecipe bool // for the cake
	ready     chan string
	rejected  chan struct{}
	paid      chan string
}

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()
	s := &shop{
		orders: "retries-" + watermill.NewShortUUID(), client: client, out: out, // each run has its own stream
		ready: make(chan string, 3), rejected: make(chan struct{}, 1), paid: make(chan string, 3),
	}
	defer client.Del(ctx, s.orders, redisstream.DeadLetterTopic(s.orders))
	router, err := s.router()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	<-router.Running()
	if err := s.serve(ctx); err != nil {
		return err
	}
	stop()
	return <-ended
}

// serve takes three orders. It adds the recipe that the cake lacks.
func (s *shop) serve(ctx context.Context) error {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: s.client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	for _, order := range []string{"tea", "cake", "coffee"} {
		if err := publisher.Publish(s.orders, message.NewMessage(watermill.NewUUID(), []byte(order))); err != nil {
			return err
		}
	}
	<-s.rejected
	fmt.Fprintln(s.out, <-s.ready, "is ready")
	fmt.Fprintln(s.out, <-s.ready, "is ready")
	s.hasRecipe = true
	for retried := 0; retried == 0; { // it becomes a dead letter when its handler has returned
		if retried, err = redisstream.RetryDeadLetters(ctx, s.client, s.orders, 10); err != nil {
			return err
		}
	}
	fmt.Fprintln(s.out, <-s.ready, "is ready")
	fmt.Fprintln(s.out, "paid:", <-s.paid, <-s.paid, <-s.paid)
	return nil
}

// router returns a Router with the handlers of both groups.
func (s *shop) router() (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	kitchen, err := s.subscriber("kitchen")
	if err != nil {
		return nil, err
	}
	retry := redisstream.RetryLater{DelaysFor: func(err error) []time.Duration {
		if errors.Is(err, errRecipe) {
			return nil
		}
		return []time.Duration{200 * time.Millisecond, 1200 * time.Millisecond}
	}}
	router.AddConsumerHandler("kitchen", s.orders, kitchen, s.prepare).AddMiddleware(retry.Middleware)
	cashier, err := s.subscriber("cashier")
	if err != nil {
		return nil, err
	}
	router.AddConsumerHandler("cashier", s.orders, cashier, func(msg *message.Message) error {
		s.paid <- string(msg.Payload)
		return nil
	})
	return router, nil
}

// subscriber returns a Subscriber with short leases: waits above a second do not depend on the
// process.
func (s *shop) subscriber(group string) (message.Subscriber, error) {
	config := redisstream.SubscriberConfig{Client: s.client, ConsumerGroup: group, ClaimMinIdle: 2 * time.Second}
	return redisstream.NewSubscriber(config, nil)
}

// prepare fails twice for tea, and for the cake as long as there is no recipe.
func (s *shop) prepare(msg *message.Message) error {
	entry, _ := redisstream.EntryFromContext(msg.Context())
	switch order := string(msg.Payload); {
	case order == "tea" && entry.Deliveries < 3:
		fmt.Fprintf(s.out, "tea: %v, delivery %d\n", errHotWater, entry.Deliveries)
		return errHotWater
	case order == "cake" && !s.hasRecipe:
		fmt.Fprintf(s.out, "cake: %v, delivery %d\n", errRecipe, entry.Deliveries)
		s.rejected <- struct{}{}
		return errRecipe
	default:
		s.ready <- order
		return nil
	}
}
