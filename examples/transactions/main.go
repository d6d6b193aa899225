// The transactions example moves money between accounts. The balances, the event that it publishes
// and the ack of the message change in one step, so each transfer is made once, although messages
// are redelivered:
//
//	go run ./examples/transactions
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
	"github.com/redis/go-redis/v9"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var transfers = []string{"ann bob 10", "bob cat 5", "cat ann 1"}

func run(ctx context.Context, out io.Writer) error {
	client, closeServer, err := server.Open(ctx, out)
	if err != nil {
		return err
	}
	defer closeServer()

	// In a cluster, all keys of a transaction need the same hash tag.
	bank := &bank{client: client, out: out, name: "{bank-" + watermill.NewShortUUID() + "}"}
	defer client.Del(ctx, bank.topic(), bank.accounts(), bank.events())
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	for _, transfer := range transfers {
		if err := publisher.Publish(bank.topic(), message.NewMessage(watermill.NewUUID(), []byte(transfer))); err != nil {
			return err
		}
	}
	if err := bank.serve(ctx, len(transfers)); err != nil {
		return err
	}
	return bank.report(ctx)
}

// report prints what is on the server.
func (b *bank) report(ctx context.Context) error {
	for _, account := range []string{"ann", "bob", "cat"} {
		balance, err := b.client.HGet(ctx, b.accounts(), account).Result()
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "%s has %s\n", account, balance)
	}
	events, err := b.client.XLen(ctx, b.events()).Result()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d events were published.\n", events)
	return nil
}

// bank has a topic of transfers, and what comes of them.
type bank struct {
	client redis.UniversalClient
	out    io.Writer
	name   string
}

func (b *bank) topic() string    { return b.name + ":transfers" }
func (b *bank) accounts() string { return b.name + ":accounts" }
func (b *bank) events() string   { return b.name + ":events" }
