package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// serve handles messages until n transfers are made.
func (b *bank) serve(ctx context.Context, n int) error {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: b.client, ConsumerGroup: "bank"}, nil)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, b.topic())
	if err != nil {
		return err
	}
	for made := 0; made < n; {
		msg, ok := <-messages
		if !ok {
			return ctx.Err()
		}
		err := b.transfer(msg)
		if err == nil {
			made++
			msg.Ack()
			continue
		}
		fmt.Fprintf(b.out, "%s: %v, so nothing is changed\n", msg.Payload, err)
		msg.Nack()
	}
	return nil
}

var errPowerCut = errors.New("power cut")

// transfer moves money, publishes an event and acknowledges the message, in one step. At the first
// delivery of one of the messages, it fails when all is queued.
func (b *bank) transfer(msg *message.Message) error {
	ctx := msg.Context()
	var from, to string
	var amount int64
	if _, err := fmt.Sscan(string(msg.Payload), &from, &to, &amount); err != nil {
		return err
	}
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	err := redisstream.Commit(ctx, func(tx redis.Pipeliner) error {
		tx.HIncrBy(ctx, b.accounts(), from, -amount)
		tx.HIncrBy(ctx, b.accounts(), to, amount)
		event := message.NewMessage(watermill.NewUUID(), msg.Payload)
		if err := publisher.In(tx).Publish(b.events(), event); err != nil {
			return err
		}
		if entry, _ := redisstream.EntryFromContext(ctx); from == "bob" && entry.Deliveries == 1 {
			return errPowerCut
		}
		return nil
	})
	if err == nil {
		fmt.Fprintf(b.out, "%s: made\n", msg.Payload)
	}
	return err
}
