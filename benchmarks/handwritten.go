package main

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// fields returns an entry in the wire format of both libraries.
func fields(uuid string, payload []byte) []any {
	return []any{"_watermill_message_uuid", uuid, "metadata", "", "payload", payload}
}

// addAll is the limit for publishing: one pipeline of XADD, or one XADD.
func addAll(client *redis.Client, messages []*message.Message) error {
	ctx := context.Background()
	if len(messages) == 1 {
		return client.XAdd(ctx, &redis.XAddArgs{Stream: topic, Values: fields(messages[0].UUID, messages[0].Payload)}).Err()
	}
	pipeline := client.Pipeline()
	for _, msg := range messages {
		pipeline.XAdd(ctx, &redis.XAddArgs{Stream: topic, Values: fields(msg.UUID, msg.Payload)})
	}
	_, err := pipeline.Exec(ctx)
	return err
}

// readAll is the limit for subscribing. It reads batches of 100 and acks each batch at once, until
// stopped is closed. It decodes nothing.
func readAll(client *redis.Client, stopped <-chan struct{}, handle func()) error {
	ctx := context.Background()
	args := &redis.XReadGroupArgs{
		Group: group, Consumer: "hand-written", Streams: []string{topic, ">"}, Count: 100, Block: 100 * time.Millisecond,
	}
	ids := make([]string, 0, args.Count)
	for {
		select {
		case <-stopped:
			return nil
		default:
		}
		streams, err := client.XReadGroup(ctx, args).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		ids = ids[:0]
		for _, entry := range streams[0].Messages {
			handle()
			ids = append(ids, entry.ID)
		}
		if err := client.XAck(ctx, topic, group, ids...).Err(); err != nil {
			return err
		}
	}
}
