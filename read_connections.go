package redisstream

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// readConnections has the connections that Subscribers share, as long as one of them is open.
var readConnections = sharedReadConns{all: make(map[readConnsKey]*readConnsUse)}

type sharedReadConns struct {
	mu  sync.Mutex
	all map[readConnsKey]*readConnsUse
}

// readConnsKey is what Subscribers have in common that share connections.
type readConnsKey struct {
	client any // the client's options: each client has its own, also when another type embeds it
	n      int
}

type readConnsUse struct {
	*stream.ReadConns

	users int
}

// join makes a Subscriber share connections, until it calls leave. With the last one they are closed.
func (s *sharedReadConns) join(c SubscriberConfig, logger watermill.LoggerAdapter) (leave func()) {
	if c.ReadConnections == 0 {
		return func() {}
	}
	key := c.readConnsKey()
	s.mu.Lock()
	defer s.mu.Unlock()
	use := s.all[key]
	if use == nil {
		use = &readConnsUse{ReadConns: stream.NewReadConns(c.Client, c.ReadConnections, logWatch(logger))}
		s.all[key] = use
	}
	use.users++
	return sync.OnceFunc(func() {
		if s.leave(key, use) {
			use.Close()
		}
	})
}

// leave reports whether a Subscriber was the last user.
func (s *sharedReadConns) leave(key readConnsKey, use *readConnsUse) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if use.users--; use.users > 0 {
		return false
	}
	delete(s.all, key)
	return true
}

// of returns the connections that a Subscriber shares; nil: none, or it is closed.
func (s *sharedReadConns) of(c SubscriberConfig) *stream.ReadConns {
	if c.ReadConnections == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if use := s.all[c.readConnsKey()]; use != nil {
		return use.ReadConns
	}
	return nil
}

func (c SubscriberConfig) readConnsKey() readConnsKey {
	return readConnsKey{optionsOf(c.Client), c.ReadConnections}
}

// checkWatch returns why the server refuses to watch a stream, if the Subscriber shares connections.
func (c SubscriberConfig) checkWatch(ctx context.Context, name string) error {
	conns := readConnections.of(c)
	if conns == nil {
		return nil
	}
	if err := conns.Check(ctx, name); err != nil {
		return fmt.Errorf("watch for new entries, which ReadConnections needs: %w", err)
	}
	return nil
}

// optionsOf returns the options of a client.
func optionsOf(client redis.UniversalClient) any {
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		return client.Options()
	case interface{ Options() *redis.ClusterOptions }:
		return client.Options()
	case interface{ Options() *redis.RingOptions }:
		return client.Options()
	default:
		return client
	}
}

// logWatch logs when there is no watch, and when there is one again.
func logWatch(logger watermill.LoggerAdapter) func(addr string, err error) {
	return func(addr string, err error) {
		fields := watermill.LogFields{"server": addr}
		if err == nil {
			logger.Info("the connection that watches for new entries works again", fields)
			return
		}
		logger.Error("the connection that watches for new entries could not be opened; subscriptions look for them each 500 ms until it is",
			stream.Redact(err), fields)
	}
}
