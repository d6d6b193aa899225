package monitoringtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stage is a server on which everything that an alert is for goes wrong, over and over, until the test
// ends.
type stage struct {
	*fixture.Bench

	observer  *redisstreamprom.Observer
	publisher *redisstream.Publisher
}

// newStage sets the stage, and returns what watches it.
func newStage(t *testing.T) []prometheus.Collector {
	t.Helper()
	b := fixture.NewOn(t, redistest.Start(t))
	s := &stage{Bench: b, observer: redisstreamprom.New(redisstreamprom.Config{})}
	s.publisher = fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Observer: s.observer})
	s.blocked()
	s.hung()
	s.abandoned()
	s.deadLetters()
	s.paused()
	s.repeatedly(100*time.Millisecond, s.grows())
	s.repeatedly(5*time.Second, s.losesLeases())
	s.repeatedly(5*time.Second, s.trims())
	s.repeatedly(3*time.Second, s.uncertain())
	s.repeatedly(100*time.Millisecond, s.healthy())
	return []prometheus.Collector{s.observer, newCollector(t, b.Client, func(err error) { t.Error(err) })}
}

func newCollector(t *testing.T, client redis.UniversalClient, onError func(error)) *redisstreamprom.Collector {
	t.Helper()
	a, err := admin.New(admin.Config{Client: client, HungAfter: time.Second})
	require.NoError(t, err)
	collector, err := redisstreamprom.NewCollector(redisstreamprom.CollectorConfig{Admin: a, OnError: onError})
	require.NoError(t, err)
	return collector
}

// unreachable returns a client of a server that is not there.
func unreachable(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: fixture.ClosedPort(t), MaxRetries: -1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// repeatedly does something until the test ends.
func (s *stage) repeatedly(pause time.Duration, do func(ctx context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			do(ctx)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}()
	s.Cleanup(func() {
		stop()
		<-ended
	})
}

func (s *stage) publish(topic string, n int) {
	s.Helper()
	assert.NoError(s, s.publisher.Publish(topic, fixture.Numbered("m", n)...)) // not require: it is not always the test's goroutine
}

// subscribe handles the messages of a topic with a function that returns what it acks.
func (s *stage) subscribe(topic string, config redisstream.SubscriberConfig, handle func(msg *message.Message) error) {
	s.Helper()
	config.Observer = s.observer
	subscriber := s.Subscriber(config)
	messages, err := subscriber.Subscribe(context.Background(), topic)
	require.NoError(s, err)
	go func() {
		for msg := range messages {
			if handle(msg) != nil {
				msg.Nack()
			} else {
				msg.Ack()
			}
		}
	}()
}

var errNoMilk = errors.New("no milk")

func ack(*message.Message) error { return nil }

func (s *stage) blocked() {
	s.publish("blocked", 5)
	config := fixture.GroupConfig()
	config.NackBackoff = func(int) time.Duration { return 50 * time.Millisecond }
	s.subscribe("blocked", config, func(*message.Message) error { return errNoMilk })
}

func (s *stage) hung() {
	s.publish("hung", 5)
	config := fixture.FastClaimConfig()
	config.CloseTimeout = 10 * time.Millisecond
	released := make(chan struct{})
	s.Cleanup(func() { close(released) })
	s.subscribe("hung", config, func(*message.Message) error {
		<-released
		return nil
	})
}

// abandoned has an old message, and a large one.
func (s *stage) abandoned() {
	old := fmt.Sprintf("%d-0", time.Now().Add(-2*time.Hour).UnixMilli())
	s.Do("XADD", "abandoned", old, "data", strings.Repeat("x", 200_000))
	s.Do("XGROUP", "CREATE", "abandoned", "g", "0")
	msg := message.NewMessage(watermill.NewUUID(), nil)
	delay.Message(msg, delay.For(time.Hour))
	require.NoError(s, s.publisher.Publish("abandoned", msg))
}

func (s *stage) deadLetters() {
	s.publish("dead", 2)
	s.subscribe("dead", fixture.FastClaimConfig(), func(msg *message.Message) error {
		if string(msg.Payload) == "m-0" {
			redisstream.Reject(msg, errNoMilk)
		} else {
			redisstream.RetryAfter(msg, time.Hour) // it is parked
		}
		return errNoMilk
	})
}

func (s *stage) paused() {
	s.publish("paused", 1)
	s.subscribe("paused", fixture.GroupConfig(), ack)
	a, err := admin.New(admin.Config{Client: s.Client})
	require.NoError(s, err)
	require.NoError(s, a.Pause(s.Context(), "paused", "g", "ann", "for a test"))
}

func (s *stage) grows() func(context.Context) {
	s.Do("XGROUP", "CREATE", "grows", "g", "0", "MKSTREAM")
	return func(context.Context) {
		s.publish("grows", 10)
	}
}

// losesLeases gives entries that handlers have to another consumer.
func (s *stage) losesLeases() func(context.Context) {
	config := fixture.FastClaimConfig()
	config.CloseTimeout = 10 * time.Millisecond
	s.subscribe("stolen", config, func(msg *message.Message) error {
		<-msg.Context().Done()
		return nil
	})
	return func(ctx context.Context) {
		s.publish("stolen", 1)
		pending, err := s.Client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: "stolen", Group: "g", Start: "-", End: "+", Count: 10}).Result()
		for _, row := range pending {
			if err == nil && row.Consumer != "thief" {
				s.Client.XClaim(ctx, &redis.XClaimArgs{Stream: "stolen", Group: "g", Consumer: "thief", Messages: []string{row.ID}})
			}
		}
	}
}

// trims drops messages that a subscription has not read, because its handler is busy.
func (s *stage) trims() func(context.Context) {
	s.publish("trimmed", 1)
	config := fixture.FastClaimConfig()
	s.subscribe("trimmed", config, func(*message.Message) error {
		time.Sleep(50 * time.Millisecond) // slower than the publisher
		return nil
	})
	return func(ctx context.Context) {
		s.publish("trimmed", 200)
		s.Client.XTrimMaxLen(ctx, "trimmed", 0)
	}
}

// uncertain publishes over a connection that is cut before the reply.
func (s *stage) uncertain() func(context.Context) {
	proxy := redistest.NewProxy(s, s.Server.Addr, 0)
	client := s.Server.Client(s, func(o *redis.Options) { o.Addr, o.MaxRetries = proxy.Addr, -1 })
	publisher := fixture.OpenPublisher(s.T, redisstream.PublisherConfig{Client: client, Observer: s.observer})
	require.NoError(s, publisher.Publish("uncertain", fixture.Numbered("m", 1)...))
	proxy.OnReply(func([]byte) (int, bool) { return 0, true })
	return func(context.Context) {
		_ = publisher.Publish("uncertain", fixture.Numbered("m", 1)...) // it fails
	}
}

// healthy publishes and handles, and closes subscribers.
func (s *stage) healthy() func(context.Context) {
	config := fixture.GroupConfig()
	config.Client, config.Observer = s.Client, s.observer
	return func(ctx context.Context) {
		subscriber, err := redisstream.NewSubscriber(config, nil)
		if !assert.NoError(s, err) {
			return
		}
		messages, err := subscriber.Subscribe(context.Background(), "healthy")
		if !assert.NoError(s, err) {
			return
		}
		s.publish("healthy", 20)
		for range 20 {
			select {
			case msg := <-messages:
				msg.Ack()
			case <-ctx.Done():
			}
		}
		assert.NoError(s, subscriber.Close())
	}
}
