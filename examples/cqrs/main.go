// The cqrs example runs a small coffee shop with Watermill's CQRS component: a command leads to an
// event, and two groups handle the events of one stream independently:
//
//	go run ./examples/cqrs
//
// It needs no Redis; set REDIS_URL to use one.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
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

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()

	lines := log.New(out, "", 0) // handlers run in parallel
	if err := serve(ctx, client, lines); err != nil {
		return err
	}
	lines.Println("All orders are served.")
	return nil
}

// serve takes orders and returns when all are served.
func serve(ctx context.Context, client redis.UniversalClient, lines *log.Logger) error {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	router, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		return err
	}

	w := &wiring{client: client, publisher: publisher, router: router, prefix: "cqrs-" + watermill.NewShortUUID()}
	defer w.close(context.WithoutCancel(ctx))
	commands, events, err := w.buses()
	if err != nil {
		return err
	}
	orders := []string{"coffee", "tea", "cake"}
	ctx, closeShop := context.WithCancel(ctx)
	defer closeShop()
	if err := w.handlers(&shop{events: events, lines: lines, orders: len(orders), close: closeShop}); err != nil {
		return err
	}

	for _, order := range orders {
		if err := commands.Send(ctx, &PlaceOrder{Order: order}); err != nil {
			return err
		}
	}
	return router.Run(ctx)
}

// handlers adds the shop's handlers to the router.
func (w *wiring) handlers(s *shop) error {
	commands, err := w.commandProcessor()
	if err != nil {
		return err
	}
	if err := commands.AddHandlers(cqrs.NewCommandHandler("counter", s.placeOrder)); err != nil {
		return err
	}
	groups, err := w.eventGroups()
	if err != nil {
		return err
	}
	if err := groups.AddHandlersGroup("kitchen", cqrs.NewGroupEventHandler(s.cook)); err != nil {
		return err
	}
	return groups.AddHandlersGroup("screen",
		cqrs.NewGroupEventHandler(s.showPlaced),
		cqrs.NewGroupEventHandler(s.showReady),
	)
}
