package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// pairs has both directions between the libraries.
var pairs = []struct {
	name     string
	from, to redisLibrary
}{
	{"from us to the peer", ourLibrary, peerLibrary},
	{"from the peer to us", peerLibrary, ourLibrary},
}

func TestWireFormat(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	thousand := message.Metadata{}
	for i := range 1000 {
		thousand[fmt.Sprint("key ", i)] = fmt.Sprint("value ", i)
	}
	for name, sent := range map[string]struct {
		uuid     string
		metadata message.Metadata
		payload  []byte
	}{
		"no metadata":                {"uuid", message.Metadata{}, []byte("payload")},
		"one metadata entry":         {"uuid", message.Metadata{"key": "value"}, []byte("payload")},
		"empty metadata key, value":  {"uuid", message.Metadata{"": ""}, []byte("payload")},
		"1000 metadata entries":      {"uuid", thousand, []byte("payload")},
		"1 MiB of metadata":          {"uuid", message.Metadata{"key": strings.Repeat("x", 1<<20)}, []byte("payload")},
		"empty payload":              {"uuid", message.Metadata{"key": "value"}, nil},
		"payload of 1 MiB":           {"uuid", message.Metadata{}, make([]byte, 1<<20)},
		"all bytes in the payload":   {"uuid", message.Metadata{}, all},
		"all bytes in the metadata":  {"uuid", message.Metadata{string(all): string(all)}, []byte("payload")},
		"all bytes in the UUID":      {string(all), message.Metadata{}, []byte("payload")},
		"empty UUID":                 {"", message.Metadata{"key": "value"}, []byte("payload")},
		"empty UUID, nothing at all": {"", nil, nil},
	} {
		for _, pair := range pairs {
			t.Run(name+", "+pair.name, func(t *testing.T) {
				msg := message.NewMessage(sent.uuid, sent.payload)
				msg.Metadata = sent.metadata
				publish(t, pair.from, t.Name(), msg)
				select {
				case got := <-subscribe(t, pair.to, t.Name(), settings{}).messages:
					got.Ack()
					assert.Equal(t, msg.UUID, got.UUID)
					assert.True(t, msg.Equals(got), "another message, of %d bytes and metadata of %d", len(got.Payload), len(got.Metadata))
				case <-time.After(patience):
					t.Fatal("no message")
				}
			})
		}
	}
}

// Both libraries publish to one stream and consume it in one group: nothing is lost, and both get
// messages.
func TestSharedGroup(t *testing.T) {
	const each = 500
	var handled tally
	var both sync.WaitGroup
	both.Add(2)
	for _, lib := range []redisLibrary{ourLibrary, peerLibrary} {
		first := sync.OnceFunc(func() {
			both.Done()
			both.Wait()
		})
		subscribe(t, lib, t.Name(), settings{}).handle(func(msg *message.Message) {
			first()
			handled.add(msg)
		})
	}
	publish(t, ourLibrary, t.Name(), numbered(0, each)...)
	publish(t, peerLibrary, t.Name(), numbered(each, 2*each)...)
	eventually(t, "all messages", func() bool { return handled.len() == 2*each })
	eventually(t, "an empty pending list", func() bool { return pending(t) == 0 })
}

// When one consumer leaves the group, the other gets what it left.
func TestLeavingTheGroup(t *testing.T) {
	const messages, before = 500, 100
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			publish(t, pair.from, t.Name(), numbered(0, messages)...)
			var handled tally
			leaving := subscribe(t, pair.from, t.Name(), settings{})
			leaving.handle(func(msg *message.Message) {
				if handled.len() < before {
					handled.add(msg)
					return
				}
				<-leaving.ending
				msg.Nack()
			})
			eventually(t, "messages handled by the first", func() bool { return handled.len() == before })
			leaving.end()

			subscribe(t, pair.to, t.Name(), settings{claimIdle: 200 * time.Millisecond}).handle(handled.add)
			eventually(t, "all messages", func() bool { return handled.len() == messages })
			eventually(t, "an empty pending list", func() bool { return pending(t) == 0 })
		})
	}
}

const patience = 20 * time.Second

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !until(patience, condition) {
		t.Fatalf("waited %s for %s", patience, what)
	}
}

// pending returns the number of pending entries of the test's stream.
func pending(t *testing.T) int64 {
	t.Helper()
	list, err := redistest.Shared().Client(t).XPending(t.Context(), t.Name(), group).Result()
	require.NoError(t, err)
	return list.Count
}

// tally is the set of handled messages.
type tally struct {
	mu    sync.Mutex
	uuids map[string]bool
}

func (h *tally) add(msg *message.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.uuids == nil {
		h.uuids = make(map[string]bool)
	}
	h.uuids[msg.UUID] = true
}

func (h *tally) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.uuids)
}

// numbered returns messages whose UUIDs are the numbers from a to b-1.
func numbered(a, b int) []*message.Message {
	messages := make([]*message.Message, 0, b-a)
	for n := a; n < b; n++ {
		messages = append(messages, message.NewMessage(strconv.Itoa(n), nil))
	}
	return messages
}

func publish(t *testing.T, lib redisLibrary, stream string, messages ...*message.Message) {
	t.Helper()
	publisher, err := lib.publisher(redistest.Shared().Client(t))
	require.NoError(t, err)
	require.NoError(t, publisher.Publish(stream, messages...))
	require.NoError(t, publisher.Close())
}

// subscription is a subscription with its own subscriber and client.
type subscription struct {
	messages <-chan *message.Message
	ending   <-chan struct{}
	end      func() // may be called more than once
	handlers sync.WaitGroup
}

// subscribe returns a subscription in the group. It ends with the test, and leaves no goroutines.
func subscribe(t *testing.T, lib redisLibrary, stream string, settings settings) *subscription {
	t.Helper()
	client := redistest.Shared().Client(t)
	subscriber, err := lib.subscriber(client, settings)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &subscription{ending: ctx.Done()}
	s.messages, err = subscriber.Subscribe(ctx, stream)
	require.NoError(t, err)
	s.end = sync.OnceFunc(func() {
		cancel()
		s.handle(func(msg *message.Message) { msg.Nack() })
		s.handlers.Wait()
		eventually(t, "the end of the peer's reads", func() bool { return unused(client) })
		assert.NoError(t, subscriber.Close())
	})
	t.Cleanup(s.end)
	return s
}

// unused reports whether no command runs. The peer's reader outlives its subscription, and hangs if
// its client is closed during a read.
func unused(client *redis.Client) bool {
	stats := client.PoolStats()
	return stats.IdleConns == stats.TotalConns
}

// handle handles messages until the subscription ends. It acks each message that f did not nack.
func (s *subscription) handle(f func(*message.Message)) {
	s.handlers.Go(func() {
		for msg := range s.messages {
			f(msg)
			msg.Ack()
		}
	})
}
