package redisstreamotel_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/redis/go-redis/v9"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// An order becomes an invoice, in one trace: the handler of a Router gets the order, and the Router
// publishes the invoice. A service has an exporter such as otlptracegrpc, and the address of its own
// server.
func Example() {
	exporter := tracetest.NewInMemoryExporter()
	traces := redisstreamotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)))

	client := redis.NewClient(&redis.Options{Addr: redistest.Shared().Addr})
	defer client.Close()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	check(err)
	defer publisher.Close()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: "billing"}, nil)
	check(err)
	defer subscriber.Close()

	router, err := message.NewRouter(message.RouterConfig{}, nil)
	check(err)
	router.AddMiddleware(redisstreamotel.Middleware(traces))
	router.AddPublisherDecorators(redisstreamotel.PublisherDecorator(traces))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	router.AddHandler("bill", "example-orders", subscriber, "example-invoices", publisher, func(msg *message.Message) ([]*message.Message, error) {
		go func() { // ends the example when the order is handled
			<-msg.Acked()
			stop()
		}()
		return []*message.Message{message.NewMessage("invoice", msg.Payload)}, nil
	})

	orders := redisstreamotel.NewPublisher(publisher, traces)
	check(orders.Publish("example-orders", message.NewMessage("order", []byte("coffee"))))
	check(router.Run(ctx))

	for _, span := range exporter.GetSpans() {
		fmt.Printf("%s: %s\n", span.Name, span.SpanKind)
	}
	// Output:
	// publish example-orders: producer
	// process example-orders: consumer
	// publish example-invoices: producer
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
