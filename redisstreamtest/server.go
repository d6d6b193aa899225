package redisstreamtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/alicebob/miniredis/v2"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// CloseTimeout is the default CloseTimeout of subscribers. A message without ack or nack delays the
// end of the test by this time.
const CloseTimeout = time.Second

// Server is a server for one test.
type Server struct {
	// Client is a client of the server. It is closed when the test ends.
	Client redis.UniversalClient

	t      testing.TB
	logger watermill.LoggerAdapter

	mu          sync.Mutex
	subscribers []io.Closer
	publishers  []io.Closer
	topics      []string
}

// Option is an option of New.
type Option func(*options)

type options struct {
	url    string
	logger watermill.LoggerAdapter
}

// WithURL uses the server at this URL, in the form of redisstream.Connect, instead of an embedded
// one. With an empty URL New starts an embedded server, so that WithURL(os.Getenv("REDIS_URL"))
// uses a real server only if the variable is set.
func WithURL(url string) Option { return func(o *options) { o.url = url } }

// WithLogger sets the logger of publishers and subscribers. By default nothing is logged.
func WithLogger(logger watermill.LoggerAdapter) Option { return func(o *options) { o.logger = logger } }

// New returns a server for the test t. An embedded server is empty. When the test ends, the server
// and everything that it made are closed.
func New(t testing.TB, change ...Option) *Server {
	t.Helper()
	var o options
	for _, option := range change {
		option(&o)
	}
	if o.url == "" {
		embedded, err := miniredis.Run()
		if err != nil {
			t.Fatalf("redisstreamtest: start an embedded server: %v", err)
		}
		t.Cleanup(embedded.Close)
		o.url = "redis://" + embedded.Addr()
	}
	client, err := redisstream.Connect(t.Context(), o.url)
	if err != nil {
		t.Fatalf("redisstreamtest: %v", err)
	}
	s := &Server{Client: client, t: t, logger: o.logger}
	t.Cleanup(s.close)
	return s
}

// Publisher returns a new Publisher. The functions may change its configuration. The test fails if
// the configuration is invalid.
func (s *Server) Publisher(change ...func(*redisstream.PublisherConfig)) *redisstream.Publisher {
	s.t.Helper()
	config := redisstream.PublisherConfig{Client: s.Client}
	for _, set := range change {
		set(&config)
	}
	publisher, err := redisstream.NewPublisher(config, s.logger)
	if err != nil {
		s.t.Fatalf("redisstreamtest: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishers = append(s.publishers, publisher)
	return publisher
}

// Subscriber returns a new Subscriber in a consumer group. Without a group it is a fan-out that
// starts at the oldest entry, so that it gets messages that were published before Subscribe. The
// functions may change its configuration. The test fails if the configuration is invalid.
func (s *Server) Subscriber(group string, change ...func(*redisstream.SubscriberConfig)) *redisstream.Subscriber {
	s.t.Helper()
	config := redisstream.SubscriberConfig{
		Client: s.Client, ConsumerGroup: group, StartID: "0", CloseTimeout: CloseTimeout,
	}
	for _, set := range change {
		set(&config)
	}
	subscriber, err := redisstream.NewSubscriber(config, s.logger)
	if err != nil {
		s.t.Fatalf("redisstreamtest: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, subscriber)
	return subscriber
}

// PubSub returns a new Publisher and a new Subscriber in one value.
func (s *Server) PubSub(group string, change ...func(*redisstream.SubscriberConfig)) *redisstream.PubSub {
	s.t.Helper()
	return &redisstream.PubSub{Publisher: s.Publisher(), Subscriber: s.Subscriber(group, change...)}
}

// Topic returns the name of a stream that no other test uses. The stream and its dead letters are
// deleted when the test ends.
func (s *Server) Topic() string {
	topic := s.t.Name() + "-" + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics = append(s.topics, topic)
	return topic
}

// WaitAcked waits until the server has acks from the consumer group for all messages in the topic.
// Acks are sent in the background, shortly after Ack. The test fails after Timeout.
func (s *Server) WaitAcked(topic, group string) {
	s.t.Helper()
	var state string
	for deadline := time.Now().Add(Timeout); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if state = s.unacked(topic, group); state == "" {
			return
		}
	}
	s.t.Fatalf("redisstreamtest: topic %q, group %q after %s: %s", topic, group, Timeout, state)
}

// unacked describes what the group has not acknowledged; empty: it has acknowledged everything.
func (s *Server) unacked(topic, group string) string {
	groups, err := s.Client.XInfoGroups(s.t.Context(), topic).Result()
	if err != nil {
		return err.Error()
	}
	newest, err := s.Client.XRevRangeN(s.t.Context(), topic, "+", "-", 1).Result()
	if err != nil {
		return err.Error()
	}
	for _, g := range groups {
		switch {
		case g.Name != group:
			continue
		case g.Pending > 0:
			return fmt.Sprintf("%d entries are pending", g.Pending)
		case len(newest) > 0 && g.LastDeliveredID != newest[0].ID:
			return fmt.Sprintf("entries up to %s are delivered, the newest is %s", g.LastDeliveredID, newest[0].ID)
		default:
			return ""
		}
	}
	return "the group does not exist"
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeAll := func(closers []io.Closer) {
		var all sync.WaitGroup
		for _, closer := range closers {
			all.Go(func() {
				if err := closer.Close(); err != nil {
					s.t.Errorf("redisstreamtest: close: %v", err)
				}
			})
		}
		all.Wait()
	}
	closeAll(s.subscribers)
	closeAll(s.publishers)
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	for _, topic := range s.topics {
		for _, key := range []string{topic, redisstream.DeadLetterTopic(topic)} {
			if err := s.Client.Del(ctx, key).Err(); err != nil {
				s.t.Errorf("redisstreamtest: delete the stream %q: %v", key, err)
			}
		}
	}
	if err := s.Client.Close(); err != nil {
		s.t.Errorf("redisstreamtest: close the client: %v", err)
	}
}
