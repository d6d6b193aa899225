// The idempotent example publishes over a connection that breaks before the reply, and orders that
// come twice. Each order is in the stream once:
//
//	go run ./examples/idempotent
//
// It needs no Redis; set REDIS_URL to use one.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
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

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()
	topic := "idempotent-" + watermill.NewShortUUID() // each run has its own stream
	defer client.Del(ctx, topic)

	if err := overABadConnection(client, topic); err != nil {
		return err
	}
	fmt.Fprintln(out, "after a lost reply:", client.XLen(ctx, topic).Val(), "order")
	duplicates, err := twice(client, topic)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "after two orders that came twice:", client.XLen(ctx, topic).Val(), "orders,", duplicates, "duplicates")
	return nil
}

// overABadConnection publishes an order. The first reply is lost, and the Publisher sends the order
// again.
func overABadConnection(client redis.UniversalClient, topic string) error {
	bad, err := badClient(client)
	if err != nil {
		return err
	}
	defer bad.Close()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: bad, Idempotent: true}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	return publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte("coffee")))
}

// twice publishes two orders, as two webhooks that are delivered twice.
func twice(client redis.UniversalClient, topic string) (duplicates int64, err error) {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{
		Client:              client,
		DeduplicationWindow: time.Minute,
		DeduplicationKey:    func(_ string, msg *message.Message) string { return msg.Metadata.Get("order_number") },
	}, nil)
	if err != nil {
		return 0, err
	}
	defer publisher.Close()
	for range 2 {
		for _, number := range []string{"17", "18"} {
			msg := message.NewMessage(watermill.NewUUID(), []byte("tea"))
			msg.Metadata.Set("order_number", number)
			if err := publisher.Publish(topic, msg); err != nil {
				return 0, err
			}
		}
	}
	return publisher.Duplicates(), nil
}

// badClient returns a client of the same server. It loses the first reply to an order.
func badClient(client redis.UniversalClient) (*redis.Client, error) {
	single, ok := client.(*redis.Client)
	if !ok {
		return nil, fmt.Errorf("%T: this example needs a single server", client)
	}
	options := *single.Options()
	dial := options.Dialer
	var sent, lost atomic.Bool
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &badConn{conn, &sent, &lost}, err
	}
	return redis.NewClient(&options), nil
}

type badConn struct {
	net.Conn

	sent, lost *atomic.Bool // an order; its reply
}

func (c *badConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("coffee")) {
		c.sent.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *badConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.sent.Load() && c.lost.CompareAndSwap(false, true) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}
