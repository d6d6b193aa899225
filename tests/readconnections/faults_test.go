package readconnections

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// collect acks all messages, and counts those that were not there before.
func collect(outputs []<-chan *message.Message) (count *atomic.Int64) {
	var seen sync.Map
	count = new(atomic.Int64)
	for _, output := range outputs {
		go func() {
			for msg := range output {
				if _, again := seen.LoadOrStore(msg.UUID, true); !again {
					count.Add(1)
				}
				msg.Ack()
			}
		}()
	}
	return count
}

// The watch dies again and again: nothing is lost, and there is a new one.
func TestReadConnections_watchKilled(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	names, outputs := topics(b, 20, b.Subscriber(sharedConfig()))
	count := collect(outputs)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	published := 0
	for range 5 {
		b.Eventually("there is a watch", func() bool { return len(watches(b)) == 1 })
		for _, name := range names {
			require.NoError(t, publisher.Publish(name, message.NewMessage(fmt.Sprint(published), nil)))
			published++
			if published%7 == 0 {
				for _, id := range watches(b) {
					_ = b.Client.Do(t.Context(), "CLIENT", "KILL", "ID", id).Err() // it may be gone
				}
			}
		}
		b.Eventually("all messages", func() bool { return count.Load() == int64(published) })
	}
}

// Replies are cut off at random: nothing is lost.
func TestReadConnections_lostReplies(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	var cuts atomic.Int64
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if bytes.Contains(chunk, []byte("payload")) && cuts.Load() < 20 && rand.IntN(3) == 0 {
			cuts.Add(1)
			return rand.IntN(len(chunk)), true
		}
		return len(chunk), false
	})
	config := sharedConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	names, outputs := topics(b, 10, b.Subscriber(config))
	count := collect(outputs)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	const rounds = 30
	for round := range rounds {
		for i, name := range names {
			require.NoError(t, publisher.Publish(name, message.NewMessage(fmt.Sprint(round, "-", i), []byte("payload"))))
		}
	}
	b.Eventually("all messages", func() bool { return count.Load() == int64(rounds*len(names)) })
	assert.Positive(t, cuts.Load())
}

// All connections break, the stream vanishes, the group vanishes, and the server starts again.
func TestReadConnections_everythingVanishes(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"))
	names, outputs := topics(b, 10, b.Subscriber(sharedConfig()))
	count := collect(outputs)
	published := 0
	publish := func() {
		t.Helper()
		for _, name := range names {
			id := fmt.Sprint(published)
			b.Eventually("the server takes it", func() bool {
				publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
				require.NoError(t, err)
				defer func() { require.NoError(t, publisher.Close()) }()
				return publisher.Publish(name, message.NewMessage(id, nil)) == nil
			})
			published++
		}
		b.Eventually("all messages", func() bool { return count.Load() == int64(published) })
	}
	publish()
	b.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	publish()
	for _, name := range names {
		b.Do("DEL", name)
	}
	publish()
	for _, name := range names {
		b.Do("XGROUP", "DESTROY", name, "g")
	}
	publish()
	b.Do("FLUSHALL")
	publish()
	b.Server.Kill()
	b.Server.Restart(t)
	publish()
	assert.LessOrEqual(t, len(watches(b)), 1)
}

// A server that hangs and comes back is used again.
func TestReadConnections_serverHangs(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := sharedConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr, o.ReadTimeout = proxy.Addr, 300*time.Millisecond })
	var log redistest.Log
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	names, outputs := topics(b, 10, subscriber)
	exchange(b, names, outputs, "before")
	proxy.Hang()
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	for _, name := range names {
		require.NoError(t, publisher.Publish(name, fixture.Numbered("meanwhile", 1)...))
	}
	b.Eventually("reads have failed", func() bool { return log.Count("reading from the stream failed") >= len(names)/2 })
	proxy.Resume()
	for _, output := range outputs {
		fixture.Receive(t, output).Ack()
	}
	exchange(b, names, outputs, "after")
}

// Slots move to another node, also while their subscriptions wait.
func TestReadConnections_slotsMove(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t, func(o *redis.ClusterOptions) { o.ClusterStateReloadInterval = time.Second })
	b := &fixture.Bench{T: t, Topic: "moving"}
	config := sharedConfig()
	config.Client = client
	names, outputs := topics(b, 12, b.Subscriber(config))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	exchangeOn(t, publisher, names, outputs, "before")
	for _, name := range names[:4] {
		cluster.MoveSlot(t, name, cluster.Other(t, name))
	}
	exchangeOn(t, publisher, names, outputs, "after")
	exchangeOn(t, publisher, names, outputs, "again")
}

func exchangeOn(t *testing.T, publisher message.Publisher, names []string, outputs []<-chan *message.Message, payload string) {
	t.Helper()
	for _, name := range names {
		msg := fixture.Numbered(payload, 1)[0]
		require.NoError(t, publisher.Publish(name, msg))
	}
	for _, output := range outputs {
		fixture.Receive(t, output).Ack()
	}
}
