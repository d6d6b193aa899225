package publishing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
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

// moody is a Marshaler that fails as the metadata of the message demands.
type moody struct{ marshaled *atomic.Int64 }

var errMood = errors.New("not today")

func (m moody) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	defer m.marshaled.Add(1)
	switch msg.Metadata.Get("mood") {
	case "refuse":
		return nil, errMood
	case "nothing":
		return map[string]any{}, nil
	case "a struct":
		return map[string]any{"field": struct{}{}}, nil // go-redis can't send it
	default:
		return redisstream.MsgpackMarshaler{}.Marshal(topic, msg)
	}
}

func withMood(mood string, messages ...*message.Message) {
	for _, msg := range messages {
		msg.Metadata.Set("mood", mood)
	}
}

func TestPublish_aBadMessageSendsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: moody{new(atomic.Int64)}})
	tests := map[string]struct {
		spoil func(messages []*message.Message)
		names []string
		is    error
	}{
		"marshaler's error": {
			func(messages []*message.Message) { withMood("refuse", messages[2]) },
			[]string{"message 3 of 4", `"m-2"`, errMood.Error()},
			errMood,
		},
		"value that can't be sent": {
			func(messages []*message.Message) { withMood("a struct", messages[1]) },
			[]string{"message 2 of 4", `"m-1"`, `"field"`, "struct"},
			nil,
		},
		"nil message": {
			func(messages []*message.Message) { messages[3] = nil },
			[]string{"message 4 of 4", "nil"},
			nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := fixture.NewTopic(t)
			messages := fixture.Numbered("m", 4)
			test.spoil(messages)
			err := publisher.Publish(topic, messages...)
			failure := fixture.AsPublishError(t, err)
			assert.Equal(t, topic, failure.Topic)
			assert.Equal(t, messages, failure.Failed)
			assert.Empty(t, failure.Published)
			assert.Empty(t, failure.Uncertain)
			for _, part := range append(test.names, topic) {
				assert.ErrorContains(t, err, part)
			}
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			assert.Zero(t, client.Exists(t.Context(), topic).Val())
		})
	}
	t.Run("empty topic", func(t *testing.T) {
		t.Parallel()
		messages := fixture.Numbered("m", 2)
		err := publisher.Publish("", messages...)
		assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
		assert.ErrorContains(t, err, "topic is empty")
	})
}

func TestPublish_concurrentCallsGetOnlyTheirOwnErrors(t *testing.T) {
	t.Parallel()
	for _, mood := range []string{"nothing", "a struct", "refuse"} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			client := redistest.Shared().Client(t)
			topic := fixture.NewTopic(t)
			gate := newGate(topic)
			gate.addTo(client)
			var marshaled atomic.Int64
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: moody{&marshaled}})
			defer gate.open()

			first := fixture.GoPublish(publisher, topic, fixture.Numbered("first", 1)...)
			redistest.Within(t, "the first round trip", gate.entered)
			const callers = 20
			results := make([]<-chan error, callers)
			calls := make([][]*message.Message, callers)
			for i := range callers {
				calls[i] = fixture.Numbered(fmt.Sprint(i), 3)
				if i%4 == 0 {
					withMood(mood, calls[i][1])
				}
				results[i] = fixture.GoPublish(publisher, topic, calls[i]...)
			}
			// The calls are in the queue, or about to be queued.
			const least = 1 + 3*callers - callers/4 // a bad message ends the marshaling of its call
			require.Eventually(t, func() bool { return marshaled.Load() >= least }, fixture.Soon, time.Millisecond)
			gate.open()

			require.NoError(t, redistest.Within(t, "Publish", first))
			var want []string
			for i, result := range results {
				err := redistest.Within(t, "Publish", result)
				if i%4 != 0 {
					assert.NoError(t, err)
					want = append(want, fixture.UUIDs(calls[i])...)
					continue
				}
				failure := fixture.AsPublishError(t, err)
				assert.Empty(t, failure.Uncertain)
				assert.Equal(t, fixture.UUIDs(calls[i]), fixture.UUIDs(failure.Failed))
				assert.Empty(t, failure.Published)
			}
			assert.ElementsMatch(t, append(want, "first-0"), fixture.StoredUUIDs(t, client, topic))
			_, largest := gate.roundTrips()
			assert.Greater(t, largest, 3, "calls share a round trip")
		})
	}
}

func TestPublish_aTopicThatIsNoStreamFailsItsOwnCallersOnly(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	good, bad := fixture.NewTopic(t), fixture.NewTopic(t)
	require.NoError(t, client.Set(t.Context(), bad, "a string", 0).Err())
	var all sync.WaitGroup
	for caller := range 16 {
		all.Go(func() {
			messages := fixture.Numbered(fmt.Sprint(caller), 3)
			if caller%2 == 0 {
				assert.NoError(t, publisher.Publish(good, messages...))
				return
			}
			err := publisher.Publish(bad, messages...)
			var failure *redisstream.PublishError
			if assert.ErrorAs(t, err, &failure) {
				assert.Equal(t, messages, failure.Failed)
				assert.Empty(t, failure.Published)
				assert.Empty(t, failure.Uncertain)
				assert.ErrorContains(t, err, "WRONGTYPE")
				assert.ErrorContains(t, err, bad)
			}
		})
	}
	all.Wait()
	assert.Len(t, fixture.StoredUUIDs(t, client, good), 8*3)
}

// checkOutcome compares a PublishError with the stream.
func checkOutcome(t *testing.T, failure *redisstream.PublishError, messages []*message.Message, inStream []string) {
	t.Helper()
	published, failed, uncertain := fixture.UUIDs(failure.Published), fixture.UUIDs(failure.Failed), fixture.UUIDs(failure.Uncertain)
	assert.ElementsMatch(t, fixture.UUIDs(messages), slices.Concat(published, failed, uncertain), "each message has one outcome")
	assert.Subset(t, inStream, published)
	for _, uuid := range failed {
		assert.NotContains(t, inStream, uuid)
	}
	for name, list := range map[string][]*message.Message{
		"Published": failure.Published, "Failed": failure.Failed, "Uncertain": failure.Uncertain,
	} {
		assert.True(t, slices.IsSortedFunc(list, func(a, b *message.Message) int {
			return slices.Index(messages, a) - slices.Index(messages, b)
		}), "%s is not in the order of the call", name)
	}
	assert.Error(t, failure.Err)
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(inStream))), len(inStream), "no message is in the stream twice")
}

func TestPublish_reportsEachMessageWhenMemoryRunsOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "30mb", "--maxmemory-policy", "noeviction")
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	topic := fixture.NewTopic(t)
	messages := fixture.Numbered("m", 60)
	for _, msg := range messages {
		msg.Payload = bytes.Repeat([]byte("x"), 1<<20)
	}
	err := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic, messages...)
	failure := fixture.AsPublishError(t, err)
	assert.ErrorContains(t, err, "OOM")
	checkOutcome(t, failure, messages, fixture.StoredUUIDs(t, client, topic))
	assert.NotEmpty(t, failure.Published)
	assert.NotEmpty(t, failure.Failed)
	assert.Empty(t, failure.Uncertain)
}

// throughProxy returns a Publisher that connects through a proxy to the shared server. Its
// connections are open.
func throughProxy(t *testing.T, change ...func(*redis.Options)) (*redisstream.Publisher, *redistest.Proxy) {
	t.Helper()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := redistest.Shared().Client(t, append(change, func(o *redis.Options) { o.Addr = proxy.Addr })...)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	warm := fixture.NewTopic(t)
	require.NoError(t, publisher.Publish(warm, fixture.Numbered("m", 1)...))
	require.NoError(t, publisher.Publish(warm, fixture.Numbered("m", 2)...), "a pipeline too: go-redis has a second pool for pipelines")
	return publisher, proxy
}

func TestPublish_reportsEachMessageWhenTheConnectionBreaksInTheReplies(t *testing.T) {
	t.Parallel()
	for _, bytesOfReplies := range []int64{0, 1, 10, 23, 500, 501, 2000} {
		t.Run(fmt.Sprintf("after %d bytes", bytesOfReplies), func(t *testing.T) {
			t.Parallel()
			publisher, proxy := throughProxy(t)
			var left atomic.Int64
			left.Store(bytesOfReplies)
			proxy.OnReply(func(chunk []byte) (int, bool) {
				rest := left.Add(-int64(len(chunk)))
				if rest > 0 {
					return len(chunk), false
				}
				return max(0, len(chunk)+int(rest)), true
			})
			topic := fixture.NewTopic(t)
			messages := fixture.Numbered("m", 100)
			failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
			inStream := fixture.StoredUUIDs(t, redistest.Shared().Client(t), topic)
			checkOutcome(t, failure, messages, inStream)
			assert.Empty(t, failure.Failed)
			assert.NotEmpty(t, failure.Uncertain)
			assert.Equal(t, fixture.UUIDs(messages), inStream, "all arrived, only replies were lost")
			assert.Len(t, failure.Published, wholeReplies(t, topic, int(bytesOfReplies)))
		})
	}
}

// wholeReplies returns how many of the replies to the XADD commands of a stream fit in the given
// bytes.
func wholeReplies(t *testing.T, topic string, bytes int) int {
	t.Helper()
	entries, err := redistest.Shared().Client(t).XRange(context.Background(), topic, "-", "+").Result()
	require.NoError(t, err)
	for i, entry := range entries {
		if bytes -= len(fmt.Sprintf("$%d\r\n%s\r\n", len(entry.ID), entry.ID)); bytes < 0 {
			return i
		}
	}
	return len(entries)
}

func TestPublish_reportsEachMessageWhenTheConnectionBreaksInTheCommands(t *testing.T) {
	t.Parallel()
	publisher, proxy := throughProxy(t)
	var left atomic.Int64
	left.Store(200_000)
	proxy.OnSend(func(chunk []byte) (int, bool) {
		rest := left.Add(-int64(len(chunk)))
		if rest > 0 {
			return len(chunk), false
		}
		return max(0, len(chunk)+int(rest)), true
	})
	topic := fixture.NewTopic(t)
	messages := fixture.Numbered("m", 100)
	for _, msg := range messages {
		msg.Payload = bytes.Repeat([]byte("x"), 10_000)
	}
	failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
	inStream := fixture.StoredUUIDs(t, redistest.Shared().Client(t), topic)
	checkOutcome(t, failure, messages, inStream)
	assert.NotEmpty(t, inStream, "some arrived")
	assert.Less(t, len(inStream), len(messages), "some did not")
}

// newID is the reply to an XADD.
var newID = regexp.MustCompile(`^\$\d+\r\n\d+-\d+\r\n`)

func TestPublish_doesNotSendAgainWhatMayHaveArrived(t *testing.T) {
	t.Parallel()
	one, cluster := redistest.Shared(), redistest.StartCluster(t)
	tests := map[string]struct {
		server *redistest.Server
		client func(addr string) redis.UniversalClient
	}{
		"client": {one, func(addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr, MaxRetries: 5})
		}},
		"type that embeds a client": {one, func(addr string) redis.UniversalClient {
			return struct{ *redis.Client }{redis.NewClient(&redis.Options{Addr: addr, MaxRetries: 5})}
		}},
		"ring": {one, func(addr string) redis.UniversalClient {
			return redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": addr}, MaxRetries: 5})
		}},
		"cluster": {cluster, func(addr string) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{addr}, MaxRedirects: 5, MaxRetries: 5,
				Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
			})
		}},
	}
	for name, test := range tests {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d messages", name, n), func(t *testing.T) {
				t.Parallel()
				proxy := redistest.NewProxy(t, test.server.Addr, 0)
				var dropped atomic.Bool
				proxy.OnReply(func(chunk []byte) (int, bool) {
					if newID.Match(chunk) && dropped.CompareAndSwap(false, true) {
						return 0, true
					}
					return len(chunk), false
				})
				client := test.client(proxy.Addr)
				t.Cleanup(func() { require.NoError(t, client.Close()) })
				publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
				topic := fixture.NewTopic(t)
				messages := fixture.Numbered("m", n)
				failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
				assert.Equal(t, messages, failure.Uncertain)
				assert.Empty(t, failure.Published)
				assert.Empty(t, failure.Failed)
				assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, test.server.Client(t), topic))

				require.NoError(t, publisher.Publish(topic, fixture.Numbered("next", n)...), "the Publisher still works")
			})
		}
	}
}

func TestPublish_failsForCertainWhenNobodyListens(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: fixture.ClosedPort(t), DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	messages := fixture.Numbered("m", 2)
	failure := fixture.AsPublishError(t, fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish("topic", messages...))
	assert.Equal(t, messages, failure.Failed)
	assert.Empty(t, failure.Uncertain)
}

func TestPublish_failsForCertainWhenTheClientIsClosed(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: redistest.Shared().Addr})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, client.Close())
	messages := fixture.Numbered("m", 2)
	failure := fixture.AsPublishError(t, publisher.Publish(fixture.NewTopic(t), messages...))
	assert.Equal(t, messages, failure.Failed)
	assert.ErrorIs(t, failure, redis.ErrClosed)
}

func TestPublish_goesOnAfterTheServerWasAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Durable...)
	client := server.Client(t, func(o *redis.Options) { o.DialerRetries = 1 })
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := fixture.NewTopic(t)
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("before", 1)...))
	server.Kill()
	require.Error(t, publisher.Publish(topic, fixture.Numbered("while", 1)...))
	server.Restart(t)
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("after", 1)...))
	assert.Equal(t, []string{"before-0", "after-0"}, fixture.StoredUUIDs(t, client, topic))
}
