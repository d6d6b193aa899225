package publishing

import (
	"context"
	"sync"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// xaddHook records the round trips with XADD commands, and is called before each.
type xaddHook struct {
	before func(topic string, commands int)

	mu       sync.Mutex
	sizes    []int             // number of commands in each round trip
	contexts []context.Context // of each round trip
}

// roundTrips returns the number of round trips, and the most commands in one.
func (a *xaddHook) roundTrips() (count, largest int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, size := range a.sizes {
		largest = max(largest, size)
	}
	return len(a.sizes), largest
}

func (a *xaddHook) see(ctx context.Context, commands []redis.Cmder) {
	a.mu.Lock()
	a.sizes, a.contexts = append(a.sizes, len(commands)), append(a.contexts, ctx)
	a.mu.Unlock()
	if a.before != nil {
		topic, _ := commands[0].Args()[1].(string)
		a.before(topic, len(commands))
	}
}

// addTo adds the hook to a client.
func (a *xaddHook) addTo(client *redis.Client) { client.AddHook(fixture.BeforeXAdd(a.see)) }

// gate holds back the round trips to one topic until open is called.
type gate struct {
	xaddHook
	entered chan struct{} // one value for each round trip at the gate
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

// gated is a Publisher to its own stream, through a gate.
type gated struct {
	*gate
	publisher *redisstream.Publisher
	client    *redis.Client
	topic     string
}

// openGated returns a gated Publisher with its gate shut. The gate is opened at the end of the test
// at the latest.
func openGated(t *testing.T, marshaler redisstream.Marshaler) gated {
	t.Helper()
	g := gated{client: redistest.Shared().Client(t), topic: fixture.NewTopic(t)}
	g.gate = newGate(g.topic)
	g.addTo(g.client)
	g.publisher = fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: g.client, Marshaler: marshaler})
	t.Cleanup(g.open) // before the Publisher is closed
	return g
}

// publish publishes numbered messages in a goroutine, and returns a channel for the result.
func (g gated) publish(prefix string, n int) <-chan error {
	return fixture.GoPublish(g.publisher, g.topic, fixture.Numbered(prefix, n)...)
}
