// Package readconnections has the tests of subscriptions that share connections for reading.
package readconnections

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shared is how many connections the subscriptions of these tests share.
const shared = 3

func sharedConfig() redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.ReadConnections = shared
	return config
}

// connections returns what CLIENT LIST has of the Bench's client.
func connections(b *fixture.Bench) (lines []string) {
	b.Helper()
	list, err := b.Client.ClientList(b.Context()).Result()
	require.NoError(b, err)
	for line := range strings.Lines(list) {
		if strings.Contains(line, " name="+b.Topic+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// watches returns the IDs of the connections that watch for new entries.
func watches(b *fixture.Bench) (ids []string) {
	b.Helper()
	for _, line := range connections(b) {
		fields := strings.Fields(line)
		for _, field := range fields {
			if flags, found := strings.CutPrefix(field, "flags="); found && strings.Contains(flags, "t") {
				ids = append(ids, strings.TrimPrefix(fields[0], "id="))
			}
		}
	}
	return ids
}

// topics subscribes to n topics, each through one of the Subscribers.
func topics(b *fixture.Bench, n int, subscribers ...*redisstream.Subscriber) (names []string, outputs []<-chan *message.Message) {
	b.Helper()
	for i := range n {
		name := fmt.Sprintf("%s-%d", b.Topic, i)
		output, err := subscribers[i%len(subscribers)].Subscribe(b.Context(), name)
		require.NoError(b, err)
		names, outputs = append(names, name), append(outputs, output)
	}
	return names, outputs
}

// exchange publishes a message to each topic, and receives it.
func exchange(b *fixture.Bench, names []string, outputs []<-chan *message.Message, payload string) {
	b.Helper()
	publisher := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client})
	for _, name := range names {
		require.NoError(b, publisher.Publish(name, fixture.Numbered(payload, 1)...))
	}
	for _, output := range outputs {
		fixture.Receive(b, output).Ack()
	}
}

func TestReadConnections_hundredSubscriptionsOnFewConnections(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const pool = 4
	b.Client = b.Server.Client(t, func(o *redis.Options) {
		o.ClientName, o.PoolSize, o.PipelinePoolSize = b.Topic, pool, -1
	})
	other := sharedConfig()
	other.ConsumerGroup = "another"
	first, second := b.Subscriber(sharedConfig()), b.Subscriber(other)
	names, outputs := topics(b, 100, first, second)
	for round := range 5 {
		exchange(b, names, outputs, fmt.Sprint(round))
	}
	assert.LessOrEqual(t, len(connections(b)), pool+shared, "both Subscribers share them")
	assert.Len(t, watches(b), 1)

	require.NoError(t, first.Close())
	assert.Len(t, watches(b), 1, "the second Subscriber is open")
	exchange(b, names[1:2], outputs[1:2], "more")
	require.NoError(t, second.Close())
	b.Eventually("the connections are closed", func() bool { return len(connections(b)) <= pool })
	assert.Empty(t, watches(b))
}

// A backlog is handled as with connections of their own: every message once and in order.
func TestReadConnections_backlogs(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const n = 500
	names, outputs := topics(b, 20, b.Subscriber(sharedConfig()))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	for _, name := range names {
		require.NoError(t, publisher.Publish(name, fixture.Numbered("m", n)...))
	}
	for _, output := range outputs {
		for i := range n {
			msg := fixture.Receive(t, output)
			require.Equal(t, fmt.Sprintf("m-%d", i), msg.UUID)
			msg.Ack()
		}
	}
}

// Each delivery mode reads on shared connections.
func TestReadConnections_modes(t *testing.T) {
	t.Parallel()
	modes := map[string]func(*redisstream.SubscriberConfig){
		"group":       func(*redisstream.SubscriberConfig) {},
		"least":       func(c *redisstream.SubscriberConfig) { c.ReadConnections = 2 },
		"many":        func(c *redisstream.SubscriberConfig) { c.MaxInFlight = 8 },
		"without ack": func(c *redisstream.SubscriberConfig) { c.AutoAck = true },
		"exclusive":   func(c *redisstream.SubscriberConfig) { c.Exclusive = true },
		"fan-out":     func(c *redisstream.SubscriberConfig) { c.ConsumerGroup, c.StartID = "", "0" },
		"short reads": func(c *redisstream.SubscriberConfig) { c.BlockTime = time.Millisecond },
	}
	for name, change := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := sharedConfig()
			change(&config)
			_, messages := b.Subscribe(config)
			for range 3 {
				b.Publish(20)
				assert.ElementsMatch(t, fixture.Payloads(20), fixture.ReceiveAll(t, messages, 20))
			}
		})
	}
}

// The partitions of a topic, each of which is a subscription, share the connections.
func TestReadConnections_partitions(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	require.NoError(t, b.Client.Close())
	config := sharedConfig()
	config.Partitions = 12
	b.Client = b.Server.Client(t, func(o *redis.Options) { o.ClientName, o.PoolSize, o.PipelinePoolSize = b.Topic, 2, -1 })
	_, messages := b.Subscribe(config)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{
		Client: b.Server.Client(t), Partitions: 12, PartitionKey: func(msg *message.Message) string { return msg.UUID },
	})
	const n = 200
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", n)...))
	fixture.ReceiveAll(t, messages, n)
	assert.LessOrEqual(t, len(connections(b)), 2+shared)
}

// What comes later than the message itself is found too: a retry, and a delayed message.
func TestReadConnections_laterDeliveries(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(sharedConfig())
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	redisstream.RetryAfter(msg, 50*time.Millisecond)
	msg.Nack()
	again := fixture.Receive(t, messages)
	assert.Equal(t, msg.UUID, again.UUID)
	again.Ack()

	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	delayed := fixture.Numbered("delayed", 1)[0]
	delay.Message(delayed, delay.For(50*time.Millisecond))
	require.NoError(t, publisher.Publish(b.Topic, delayed))
	assert.Equal(t, delayed.UUID, fixture.Receive(t, messages).UUID)
}

func TestReadConnections_pause(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber, messages := b.Subscribe(sharedConfig())
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)
	subscriber.Pause(b.Topic)
	b.Publish(1)
	fixture.NothingComes(t, messages, 100*time.Millisecond)
	subscriber.Resume(b.Topic)
	fixture.ReceiveAll(t, messages, 1)
}

// Close ends a subscription that waits, and within its time also if the server is silent.
func TestReadConnections_close(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := sharedConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	subscriber, messages := b.Subscribe(config)
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)
	proxy.Hang()
	closed := make(chan struct{})
	began := time.Now()
	go func() { defer close(closed); _ = subscriber.Close() }()
	fixture.WaitDone(t, closed, "Close returns")
	assert.Less(t, time.Since(began), config.CloseTimeout+time.Second)
	proxy.Resume()
}

// A missing right is reported by Subscribe.
func TestReadConnections_rights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := fixture.NewOn(t, server)
	for name, rule := range map[string]string{"client|tracking": "-client|tracking", "xlen": "-xlen"} {
		user := strings.ReplaceAll(name, "|", "-")
		b.Do("ACL", "SETUSER", user, "on", "nopass", "~*", "&*", "+@all", rule)
		for _, group := range []string{"g", ""} {
			config := sharedConfig()
			config.ConsumerGroup = group
			config.Client = server.Client(t, func(o *redis.Options) { o.Username, o.Password = user, "x" })
			_, err := b.Subscriber(config).Subscribe(t.Context(), b.Topic)
			require.ErrorContains(t, err, name, "group %q", group)
		}
	}
}
