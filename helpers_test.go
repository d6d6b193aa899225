package redisstream_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// soon is how long a test waits for what is due at once, on a busy machine.
const soon = redistest.Soon

// ownTopic returns a stream that only this test uses.
func ownTopic(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(t.Name(), "/", ":") + ":" + rand.Text()[:8]
}

// openPublisher returns a Publisher that is closed when the test ends.
func openPublisher(t *testing.T, config redisstream.PublisherConfig) *redisstream.Publisher {
	t.Helper()
	publisher, err := redisstream.NewPublisher(config, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publisher.Close()) })
	return publisher
}

// numbered returns n messages whose payloads and UUIDs are prefix-0, prefix-1 and so on.
func numbered(prefix string, n int) []*message.Message {
	messages := make([]*message.Message, n)
	for i := range messages {
		text := fmt.Sprintf("%s-%d", prefix, i)
		messages[i] = message.NewMessage(text, []byte(text))
	}
	return messages
}

func uuids(messages []*message.Message) []string {
	list := make([]string, len(messages))
	for i, msg := range messages {
		list[i] = msg.UUID
	}
	return list
}

// stored returns the UUIDs of the messages in the stream, in its order.
func stored(t *testing.T, client redis.Cmdable, topic string) []string {
	t.Helper()
	entries, err := client.XRange(context.Background(), topic, "-", "+").Result()
	require.NoError(t, err)
	list := make([]string, len(entries))
	for i, entry := range entries {
		msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(entry.ID, entry.Values)
		require.NoError(t, err)
		list[i] = msg.UUID
	}
	return list
}

// publishing runs Publish in a goroutine and returns where its result comes.
func publishing(publisher *redisstream.Publisher, topic string, messages ...*message.Message) <-chan error {
	result := make(chan error, 1)
	go func() { result <- publisher.Publish(topic, messages...) }()
	return result
}

// asPublishError returns the *PublishError in err.
func asPublishError(t *testing.T, err error) *redisstream.PublishError {
	t.Helper()
	var failure *redisstream.PublishError
	require.ErrorAs(t, err, &failure)
	return failure
}

// additions is a hook that sees every round trip with XADD commands before it begins.
type additions struct {
	before func(topic string, commands int)

	mu    sync.Mutex
	sizes []int // commands in each round trip
}

// roundTrips returns how many there were, and the most commands in one.
func (a *additions) roundTrips() (count, largest int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, size := range a.sizes {
		largest = max(largest, size)
	}
	return len(a.sizes), largest
}

func (a *additions) see(commands ...redis.Cmder) {
	if commands[0].Name() != "xadd" {
		return
	}
	a.mu.Lock()
	a.sizes = append(a.sizes, len(commands))
	a.mu.Unlock()
	if a.before != nil {
		topic, _ := commands[0].Args()[1].(string)
		a.before(topic, len(commands))
	}
}

func (a *additions) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (a *additions) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		a.see(command)
		return next(ctx, command)
	}
}

func (a *additions) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		a.see(commands...)
		return next(ctx, commands)
	}
}

// gate holds the round trips to one topic from the moment it is made until open is called.
type gate struct {
	additions
	entered chan struct{} // one for each round trip that came to the gate
	open    func()
}

func newGate(topic string) *gate {
	opened := make(chan struct{})
	g := &gate{entered: make(chan struct{}, 1000), open: sync.OnceFunc(func() { close(opened) })}
	g.before = func(to string, _ int) {
		if to == topic {
			g.entered <- struct{}{}
			<-opened
		}
	}
	return g
}

// gated is a Publisher to a stream that only this test uses, through a gate.
type gated struct {
	*gate
	publisher *redisstream.Publisher
	client    *redis.Client
	topic     string
}

// openGated returns a gated Publisher with its gate shut; it is opened at the end of the test at the latest.
func openGated(t *testing.T, marshaler redisstream.Marshaler) gated {
	t.Helper()
	g := gated{client: redistest.Shared().Client(t), topic: ownTopic(t)}
	g.gate = newGate(g.topic)
	g.client.AddHook(g.gate)
	g.publisher = openPublisher(t, redisstream.PublisherConfig{Client: g.client, Marshaler: marshaler})
	t.Cleanup(g.open) // before the Publisher is closed
	return g
}

// publish publishes numbered messages in a goroutine, and returns where the result comes.
func (g gated) publish(prefix string, n int) <-chan error {
	return publishing(g.publisher, g.topic, numbered(prefix, n)...)
}
