package main

import (
	"context"
	"errors"
	"log"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/redis/go-redis/v9"
)

type topics struct{ orders, invoices, poison string }

// newTopics returns new streams for each run.
func newTopics() topics {
	prefix := "router-" + watermill.NewShortUUID() + "-"
	return topics{orders: prefix + "orders", invoices: prefix + "invoices", poison: prefix + "poison"}
}

func (t topics) remove(ctx context.Context, client redis.UniversalClient) {
	for _, topic := range []string{t.orders, t.invoices, t.poison} {
		client.Del(ctx, topic)
	}
}

func newRouter(t topics, publisher message.Publisher, subscriber message.Subscriber, lines *log.Logger) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		return nil, err
	}
	// A message whose handler fails because the Router stops is not poisoned: it is nacked and
	// redelivered.
	poisonQueue, err := middleware.PoisonQueueWithFilter(publisher, t.poison, func(err error) bool {
		return !errors.Is(err, context.Canceled)
	})
	if err != nil {
		return nil, err
	}
	retry := middleware.Retry{MaxRetries: 2, InitialInterval: 20 * time.Millisecond}

	b := &billing{lines: lines}
	router.AddHandler("bill", t.orders, subscriber, t.invoices, shared{publisher}, b.bill).
		AddMiddleware(poisonQueue, retry.Middleware)
	router.AddConsumerHandler("send", t.invoices, subscriber, b.send)
	router.AddConsumerHandler("complain", t.poison, subscriber, b.complain)
	return router, nil
}

// shared is a publisher that the Router does not close. When a Router stops, it closes the
// publisher of a handler even if the handler still runs and has not published yet.
type shared struct{ message.Publisher }

func (shared) Close() error { return nil }

type billing struct {
	lines *log.Logger
	jam   sync.Once
}

var (
	errJam       = errors.New("the printer is jammed")
	errNoAddress = errors.New("no address")
)

// bill turns an order into an invoice. The printer jams once at order 2, and order 3 can't be
// billed.
func (b *billing) bill(msg *message.Message) ([]*message.Message, error) {
	order := string(msg.Payload)
	b.lines.Printf("%s: billing", order)
	time.Sleep(50 * time.Millisecond) // work

	var err error
	switch order {
	case "order 2":
		b.jam.Do(func() { err = errJam })
	case "order 3":
		err = errNoAddress
	}
	if err != nil {
		b.lines.Printf("%s: failed: %v", order, err)
		return nil, err
	}
	b.lines.Printf("%s: billed", order)
	return message.Messages{message.NewMessage(watermill.NewUUID(), msg.Payload)}, nil
}

func (b *billing) send(msg *message.Message) error {
	b.lines.Printf("%s: invoice sent", msg.Payload)
	return nil
}

func (b *billing) complain(msg *message.Message) error {
	b.lines.Printf("%s: in the poison queue: %s", msg.Payload, msg.Metadata.Get(middleware.ReasonForPoisonedKey))
	return nil
}
