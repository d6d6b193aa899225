package redisstream

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// CommitHandler is a middleware for Watermill's Router. It runs the handler, and commits what the
// handler queued, the messages that it returns, and the ack of its message in one step, as Commit
// does. The messages go to the publish topic of the handler in the Router, through publisher. The
// Router itself publishes nothing: give its AddHandler the same publisher.
//
// The handler gets the transaction from the context of its message (TxFromContext), and a CQRS
// EventBus on a TxPublisher finds it there, too. If the handler returns an error, nothing is
// changed. If Commit fails, the middleware returns its error.
//
// Add it as the last middleware, after Retry and others, so that each attempt begins with an empty
// transaction:
//
//	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
//	router.AddMiddleware(middleware.Retry{MaxRetries: 2}.Middleware, redisstream.CommitHandler(publisher))
//	router.AddHandler("bill", "orders", subscriber, "invoices", publisher, bill)
func CommitHandler(publisher *TxPublisher) message.HandlerMiddleware {
	return func(handler message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			defer msg.SetContext(ctx)
			return nil, Commit(ctx, func(tx redis.Pipeliner) error {
				msg.SetContext(ContextWithTx(ctx, tx))
				produced, err := handler(msg)
				if err != nil || len(produced) == 0 {
					return err
				}
				if err := publisher.In(tx).Publish(message.PublishTopicFromCtx(ctx), produced...); err != nil {
					return fmt.Errorf("produced messages: %w", err)
				}
				return nil
			})
		}
	}
}

type txKey struct{}

// ContextWithTx returns a copy of ctx from which TxFromContext returns tx, and in which a
// TxPublisher finds it. Use it for your own transactions, and in unit tests of handlers.
func ContextWithTx(ctx context.Context, tx redis.Pipeliner) context.Context {
	return context.WithValue(ctx, txKey{}, tx)
}

// TxFromContext returns the transaction to which the effects of a handler belong: that of
// CommitHandler, or of ContextWithTx.
func TxFromContext(ctx context.Context) (tx redis.Pipeliner, ok bool) {
	tx, ok = ctx.Value(txKey{}).(redis.Pipeliner)
	return tx, ok
}
