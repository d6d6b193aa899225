//go:build !race

// Watermill's TestReconnect races with itself: it appends what was published in one goroutine
// and reads it in another. `make test` runs it without the race detector.

package redisstream_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
)

func TestPubSub_reconnect(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Durable...)
	withRestart := features()
	withRestart.RestartServiceCommand = server.RestartCommand(t)
	construct := inGroup(server, func(c *redisstream.SubscriberConfig) { c.MaxInFlight = 100 })
	tests.TestReconnect(t, tests.TestContext{TestID: tests.NewTestID(), Features: withRestart},
		func(t *testing.T) (message.Publisher, message.Subscriber) {
			t.Helper()
			publisher, subscriber := construct(t, "test")
			return publisher, lateSubscriber{subscriber}
		})
}

// lateSubscriber delays each message. The suite records a message as published in another goroutine
// after Publish returned, and fails if the message was received before that.
type lateSubscriber struct{ message.Subscriber }

const late = 20 * time.Millisecond

func (s lateSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	messages, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	output := make(chan *message.Message)
	go func() {
		defer close(output)
		var delayed sync.WaitGroup
		defer delayed.Wait()
		for msg := range messages {
			delayed.Go(func() {
				select {
				case <-time.After(late):
				case <-msg.Context().Done():
				}
				select {
				case output <- msg:
				case <-msg.Context().Done():
				}
			})
		}
	}()
	return output, nil
}
