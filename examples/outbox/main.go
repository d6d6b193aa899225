// The outbox example stores orders in PostgreSQL, and publishes an event of each to Redis: both or
// neither.
//
//	cd examples/outbox
//	POSTGRES_URL=postgres://user:password@localhost/db REDIS_URL=redis://localhost:6379 go run .
package main

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// outbox is the topic in PostgreSQL. Its rows are in the table watermill_outbox.
const outbox = "outbox"

var logger = watermill.NewStdLogger(false, false)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := sql.Open("pgx", os.Getenv("POSTGRES_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, item TEXT NOT NULL)"); err != nil {
		return err
	}
	client, err := redisstream.Connect(ctx, os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer client.Close()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, logger)
	if err != nil {
		return err
	}
	defer publisher.Close()
	forward, err := newForwarder(db, publisher)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- forward.Run(ctx) }()
	defer forward.Close()
	select {
	case <-forward.Running():
	case err := <-failed:
		return err
	}
	for _, item := range []string{"coffee", "gold", "tea"} {
		if err := placeOrder(ctx, db, item); err != nil {
			log.Printf("no order of %s: %v", item, err)
		}
	}
	return receive(ctx, client, 2)
}

// newForwarder returns a Forwarder that publishes the rows of the outbox to Redis. Each process may
// run one: one at a time works, so the order stays.
func newForwarder(db *sql.DB, publisher message.Publisher) (*forwarder.Forwarder, error) {
	rows, err := watermillsql.NewSubscriber(watermillsql.BeginnerFromStdSQL(db), watermillsql.SubscriberConfig{
		SchemaAdapter:    watermillsql.DefaultPostgreSQLSchema{},
		OffsetsAdapter:   watermillsql.DefaultPostgreSQLOffsetsAdapter{},
		InitializeSchema: true,
		PollInterval:     100 * time.Millisecond,
	}, logger)
	if err != nil {
		return nil, err
	}
	return forwarder.NewForwarder(rows, publisher, logger, forwarder.Config{ForwarderTopic: outbox})
}

// placeOrder stores an order and its event in one transaction.
func placeOrder(ctx context.Context, db *sql.DB, item string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	id := watermill.NewUUID()
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, item) VALUES ($1, $2)", id, item); err != nil {
		return err
	}
	rows, err := watermillsql.NewPublisher(watermillsql.TxFromStdSQL(tx), watermillsql.PublisherConfig{
		SchemaAdapter: watermillsql.DefaultPostgreSQLSchema{},
	}, logger)
	if err != nil {
		return err
	}
	events := forwarder.NewPublisher(rows, forwarder.PublisherConfig{ForwarderTopic: outbox})
	if err := events.Publish("orders", message.NewMessage(id, []byte(item))); err != nil {
		return err
	}
	if item == "gold" {
		return errors.New("out of stock") // so neither the order nor its event is there
	}
	return tx.Commit()
}

// receive logs n events.
func receive(ctx context.Context, client redis.UniversalClient, n int) error {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: "kitchen", StartID: "0"}, logger)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, "orders")
	if err != nil {
		return err
	}
	for range n {
		msg := <-messages
		log.Printf("order of %s", msg.Payload)
		msg.Ack()
	}
	return nil
}
