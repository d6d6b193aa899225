package redisstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublish_keepsTheOrder(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	var want []string
	for call := range 30 {
		messages := numbered(fmt.Sprintf("call %d", call), 1+call*call)
		require.NoError(t, publisher.Publish(topic, messages...))
		want = append(want, uuids(messages)...)
	}
	assert.Equal(t, want, stored(t, client, topic))
}

func TestPublish_keepsTheOrderOfEachOfManyCallers(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	const callers, calls, each = 16, 20, 5
	for name, delay := range map[string]time.Duration{"next to the server": 0, "over a slow link": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.NewProxy(t, redistest.Shared().Addr, delay)
			far := redistest.Shared().Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
			publisher := openPublisher(t, redisstream.PublisherConfig{Client: far})
			topic := ownTopic(t)
			var all sync.WaitGroup
			for caller := range callers {
				all.Go(func() {
					messages := numbered(fmt.Sprint(caller), calls*each)
					for chunk := range slices.Chunk(messages, each) {
						assert.NoError(t, publisher.Publish(topic, chunk...))
					}
				})
			}
			all.Wait()
			perCaller := map[string][]string{}
			for _, uuid := range stored(t, client, topic) {
				caller, _, _ := strings.Cut(uuid, "-")
				perCaller[caller] = append(perCaller[caller], uuid)
			}
			assert.Len(t, perCaller, callers)
			for caller, got := range perCaller {
				assert.Equal(t, uuids(numbered(caller, calls*each)), got)
			}
		})
	}
}

func TestPublish_ofNothingIsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	require.NoError(t, openPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic))
	assert.Zero(t, client.Exists(t.Context(), topic).Val())
}

func TestPublish_everyFieldArrives(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	msg := message.NewMessage("uuid", allBytes())
	msg.Metadata.Set("name", "value")
	require.NoError(t, openPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic, msg))
	entries, err := client.XRange(t.Context(), topic, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 1)
	got, err := redisstream.MsgpackMarshaler{}.Unmarshal(entries[0].ID, entries[0].Values)
	require.NoError(t, err)
	assert.True(t, msg.Equals(got))
}

// moody marshals as the metadata of a message says.
type moody struct{ marshaled *atomic.Int64 }

var errMood = errors.New("not today")

func (m moody) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	defer m.marshaled.Add(1)
	switch msg.Metadata.Get("mood") {
	case "refuse":
		return nil, errMood
	case "nothing":
		return map[string]any{}, nil // which makes an XADD that the server refuses
	case "a struct":
		return map[string]any{"field": struct{}{}}, nil // which go-redis can't send
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
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: moody{new(atomic.Int64)}})
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
			topic := ownTopic(t)
			messages := numbered("m", 4)
			test.spoil(messages)
			err := publisher.Publish(topic, messages...)
			failure := asPublishError(t, err)
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
		messages := numbered("m", 2)
		err := publisher.Publish("", messages...)
		assert.Equal(t, messages, asPublishError(t, err).Failed)
		assert.ErrorContains(t, err, "topic is empty")
	})
}

func TestPublish_concurrentCallsGetOnlyTheirOwnErrors(t *testing.T) {
	t.Parallel()
	for _, mood := range []string{"nothing", "a struct", "refuse"} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			client := redistest.Shared().Client(t)
			topic := ownTopic(t)
			gate := newGate(topic)
			client.AddHook(gate)
			var marshaled atomic.Int64
			publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: moody{&marshaled}})
			defer gate.open()

			first := publishing(publisher, topic, numbered("first", 1)...)
			within(t, "the first round trip", gate.entered)
			const callers = 20
			results := make([]<-chan error, callers)
			calls := make([][]*message.Message, callers)
			for i := range callers {
				calls[i] = numbered(fmt.Sprint(i), 3)
				if i%4 == 0 {
					withMood(mood, calls[i][1])
				}
				results[i] = publishing(publisher, topic, calls[i]...)
			}
			// They are in the queue, or are about to be.
			least := int64(1 + 3*callers)
			if mood != "nothing" { // the bad message ends its call's marshaling
				least = 1 + 3*callers - callers/4
			}
			require.Eventually(t, func() bool { return marshaled.Load() >= least }, soon, time.Millisecond)
			gate.open()

			require.NoError(t, within(t, "Publish", first))
			var want []string
			for i, result := range results {
				err := within(t, "Publish", result)
				if i%4 != 0 {
					assert.NoError(t, err)
					want = append(want, uuids(calls[i])...)
					continue
				}
				failure := asPublishError(t, err)
				assert.Empty(t, failure.Uncertain)
				if mood == "nothing" { // the server refused one of three
					assert.Equal(t, []string{fmt.Sprint(i, "-0"), fmt.Sprint(i, "-2")}, uuids(failure.Published))
					assert.Equal(t, []string{fmt.Sprint(i, "-1")}, uuids(failure.Failed))
					assert.ErrorContains(t, err, "wrong number of arguments")
				} else {
					assert.Equal(t, uuids(calls[i]), uuids(failure.Failed))
				}
				want = append(want, uuids(failure.Published)...)
			}
			assert.ElementsMatch(t, append(want, "first-0"), stored(t, client, topic))
			_, largest := gate.roundTrips()
			assert.Greater(t, largest, 3, "calls shared a round trip")
		})
	}
}

func TestPublish_aTopicThatIsNoStreamFailsItsOwnCallersOnly(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	good, bad := ownTopic(t), ownTopic(t)
	require.NoError(t, client.Set(t.Context(), bad, "a string", 0).Err())
	var all sync.WaitGroup
	for caller := range 16 {
		all.Go(func() {
			messages := numbered(fmt.Sprint(caller), 3)
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
	assert.Len(t, stored(t, client, good), 8*3)
}

// checkOutcome compares what a PublishError says with what is in the stream.
func checkOutcome(t *testing.T, failure *redisstream.PublishError, messages []*message.Message, inStream []string) {
	t.Helper()
	published, failed, uncertain := uuids(failure.Published), uuids(failure.Failed), uuids(failure.Uncertain)
	assert.ElementsMatch(t, uuids(messages), slices.Concat(published, failed, uncertain), "each message has one fate")
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
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(inStream))), len(inStream), "none is twice in the stream")
}

func TestPublish_tellsWhatBecameOfEachWhenMemoryRunsOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "30mb", "--maxmemory-policy", "noeviction")
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	topic := ownTopic(t)
	messages := numbered("m", 60)
	for _, msg := range messages {
		msg.Payload = bytes.Repeat([]byte("x"), 1<<20)
	}
	err := openPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic, messages...)
	failure := asPublishError(t, err)
	assert.ErrorContains(t, err, "OOM")
	checkOutcome(t, failure, messages, stored(t, client, topic))
	assert.NotEmpty(t, failure.Published)
	assert.NotEmpty(t, failure.Failed)
	assert.Empty(t, failure.Uncertain)
}

// throughProxy returns a Publisher to a proxy in front of the server that all tests share; its connections are made.
func throughProxy(t *testing.T, change ...func(*redis.Options)) (*redisstream.Publisher, *redistest.Proxy) {
	t.Helper()
	proxy := redistest.NewProxy(t, redistest.Shared().Addr, 0)
	client := redistest.Shared().Client(t, append(change, func(o *redis.Options) { o.Addr = proxy.Addr })...)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	warm := ownTopic(t)
	require.NoError(t, publisher.Publish(warm, numbered("m", 1)...))
	require.NoError(t, publisher.Publish(warm, numbered("m", 2)...), "go-redis has a second pool for pipelines")
	return publisher, proxy
}

func TestPublish_tellsWhatBecameOfEachWhenTheConnectionBreaksInTheReplies(t *testing.T) {
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
			topic := ownTopic(t)
			messages := numbered("m", 100)
			failure := asPublishError(t, publisher.Publish(topic, messages...))
			inStream := stored(t, redistest.Shared().Client(t), topic)
			checkOutcome(t, failure, messages, inStream)
			assert.Empty(t, failure.Failed)
			assert.NotEmpty(t, failure.Uncertain)
			assert.Equal(t, uuids(messages), inStream, "all arrived: only the replies are lost")
			assert.Len(t, failure.Published, wholeReplies(t, topic, int(bytesOfReplies)))
		})
	}
}

// wholeReplies returns how many of the replies that the XADD commands of a stream got fit in so many bytes.
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

func TestPublish_tellsWhatBecameOfEachWhenTheConnectionBreaksInTheCommands(t *testing.T) {
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
	topic := ownTopic(t)
	messages := numbered("m", 100)
	for _, msg := range messages {
		msg.Payload = bytes.Repeat([]byte("x"), 10_000)
	}
	failure := asPublishError(t, publisher.Publish(topic, messages...))
	inStream := stored(t, redistest.Shared().Client(t), topic)
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
				publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
				topic := ownTopic(t)
				messages := numbered("m", n)
				failure := asPublishError(t, publisher.Publish(topic, messages...))
				assert.Equal(t, messages, failure.Uncertain)
				assert.Empty(t, failure.Published)
				assert.Empty(t, failure.Failed)
				assert.Equal(t, uuids(messages), stored(t, test.server.Client(t), topic))

				require.NoError(t, publisher.Publish(topic, numbered("next", n)...), "the Publisher goes on")
			})
		}
	}
}

func TestPublish_runsTheHooksOfTheClient(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	before, after := &additions{}, &additions{}
	client.AddHook(before)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	client.AddHook(after)
	topic := ownTopic(t)
	require.NoError(t, publisher.Publish(topic, numbered("m", 1)...))
	require.NoError(t, publisher.Publish(topic, numbered("m", 3)...))
	for _, hook := range []*additions{before, after} {
		count, largest := hook.roundTrips()
		assert.Equal(t, 2, count)
		assert.Equal(t, 3, largest)
	}
}

func TestPublish_failsForCertainWhenNobodyListens(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: closedPort(t), DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	messages := numbered("m", 2)
	failure := asPublishError(t, openPublisher(t, redisstream.PublisherConfig{Client: client}).Publish("topic", messages...))
	assert.Equal(t, messages, failure.Failed)
	assert.Empty(t, failure.Uncertain)
}

func TestPublish_failsForCertainWhenTheClientIsClosed(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: redistest.Shared().Addr})
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, client.Close())
	messages := numbered("m", 2)
	failure := asPublishError(t, publisher.Publish(ownTopic(t), messages...))
	assert.Equal(t, messages, failure.Failed)
	assert.ErrorIs(t, failure, redis.ErrClosed)
}

func TestPublish_contextThatIsOverSendsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the request is over")
	cancel(cause)
	messages := numbered("m", 3)
	messages[1].SetContext(ctx) // one is enough
	err := publisher.Publish(topic, messages...)
	assert.Equal(t, messages, asPublishError(t, err).Failed)
	assert.ErrorIs(t, err, cause)
	assert.Zero(t, client.Exists(t.Context(), topic).Val())
}

// values is a context that can't be compared.
type values struct {
	context.Context //nolint:containedctx // it is one
	list            []string
}

func TestPublish_takesContextsOfAnyType(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	ctx, cancel := context.WithCancel(t.Context())
	messages := numbered("m", 3)
	for i, msg := range messages {
		msg.SetContext(values{ctx, make([]string, i)})
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	cancel()
	require.ErrorIs(t, publisher.Publish(topic, messages...), context.Canceled)
	assert.Equal(t, uuids(messages), stored(t, client, topic))
}

func TestPublish_contextThatEndsInTheQueueSendsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	gate := newGate(topic)
	client.AddHook(gate)
	var marshaled atomic.Int64
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: moody{&marshaled}})
	defer gate.open()
	const pipelines = 2 // may be under way at the same time
	var first []<-chan error
	for i := range pipelines {
		first = append(first, publishing(publisher, topic, numbered(fmt.Sprint("first-", i), 1)...))
		within(t, "a round trip", gate.entered)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages := numbered("second", 2)
	messages[1].SetContext(ctx)
	second := publishing(publisher, topic, messages...)
	third := publishing(publisher, topic, numbered("third", 1)...)
	require.Eventually(t, func() bool { return marshaled.Load() == pipelines+3 }, soon, time.Millisecond)
	cancel()
	err := within(t, "Publish", second)
	assert.Equal(t, messages, asPublishError(t, err).Failed)
	assert.ErrorIs(t, err, context.Canceled)

	gate.open()
	for _, call := range first {
		require.NoError(t, within(t, "Publish", call))
	}
	require.NoError(t, within(t, "Publish", third), "who came later is not affected")
	assert.ElementsMatch(t, []string{"first-0-0", "first-1-0", "third-0"}, stored(t, client, topic))
}

func TestPublish_contextThatEndsInFlightReturnsAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t, func(o *redis.Options) { o.ReadTimeout = time.Minute })
	require.NoError(t, client.Ping(t.Context()).Err())
	topic := ownTopic(t)
	gate := newGate(topic)
	gate.open() // only to know when a round trip begins
	client.AddHook(gate)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})

	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages := numbered("m", 2)
	messages[0].SetContext(ctx)
	result := publishing(publisher, topic, messages...)
	within(t, "the round trip", gate.entered)
	cancel()
	err := within(t, "Publish", result)
	assert.Equal(t, messages, asPublishError(t, err).Uncertain)
	assert.ErrorIs(t, err, context.Canceled)

	server.Resume()
	require.NoError(t, publisher.Close())
	inStream := stored(t, client, topic)
	assert.Equal(t, uuids(messages), inStream, "Close waited for the round trip whose caller had left")
}

func TestPublish_deadlineInFlightReturnsAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t, func(o *redis.Options) { o.ReadTimeout = time.Minute })
	require.NoError(t, client.Ping(t.Context()).Err())
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	messages := numbered("m", 1)
	messages[0].SetContext(ctx)
	err := within(t, "Publish", publishing(publisher, "topic", messages...))
	assert.Equal(t, messages, asPublishError(t, err).Uncertain)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestPublish_contextThatEndsAfterwardsChangesNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		messages := numbered(fmt.Sprint(i), 2)
		messages[0].SetContext(ctx)
		messages[1].SetContext(ctx)
		require.NoError(t, publisher.Publish(topic, messages...))
		cancel()
	}
	assert.Len(t, stored(t, client, topic), 100)
}

func TestPublish_aTopicThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	hung, other := ownTopic(t), ownTopic(t)
	gate := newGate(hung)
	client.AddHook(gate)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	defer gate.open()
	first := publishing(publisher, hung, numbered("m", 1)...)
	within(t, "the round trip", gate.entered)
	for range 10 {
		require.NoError(t, within(t, "Publish", publishing(publisher, other, numbered("m", 1)...)))
	}
	gate.open()
	require.NoError(t, within(t, "Publish", first))
}

func TestPublish_concurrentCallsShareRoundTrips(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	gate := newGate(topic)
	client.AddHook(gate)
	var marshaled atomic.Int64
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: moody{&marshaled}})
	defer gate.open()
	const callers = 16
	results := make([]<-chan error, callers)
	for i := range callers {
		results[i] = publishing(publisher, topic, numbered(fmt.Sprint(i), 1)...)
	}
	within(t, "the first round trip", gate.entered)
	require.Eventually(t, func() bool { return marshaled.Load() == callers }, soon, time.Millisecond)
	gate.open()
	for _, result := range results {
		require.NoError(t, within(t, "Publish", result))
	}
	assert.Len(t, stored(t, client, topic), callers)
	roundTrips, _ := gate.roundTrips()
	assert.Less(t, roundTrips, callers/2)
}

func TestPublish_goesOnAfterTheServerWasAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendfsync", "always")
	client := server.Client(t, func(o *redis.Options) { o.DialerRetries = 1 })
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	require.NoError(t, publisher.Publish(topic, numbered("before", 1)...))
	server.Kill()
	require.Error(t, publisher.Publish(topic, numbered("while", 1)...))
	server.Restart(t)
	require.NoError(t, publisher.Publish(topic, numbered("after", 1)...))
	assert.Equal(t, []string{"before-0", "after-0"}, stored(t, client, topic))
}

func TestPublish_MaxLenKeepsTheStreamAboutThatLong(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, MaxLen: 500})
	require.NoError(t, publisher.Publish(topic, numbered("first", 2000)...))
	for i := range 10 {
		require.NoError(t, publisher.Publish(topic, numbered(fmt.Sprint(i), 1)...))
	}
	inStream := stored(t, client, topic)
	assert.GreaterOrEqual(t, len(inStream), 500)
	assert.LessOrEqual(t, len(inStream), 700, "whole nodes of 100 entries are dropped")
	assert.Equal(t, "9-0", inStream[len(inStream)-1])
}

func TestPublisher_leavesTheClientsOptionsAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t, func(o *redis.Options) {
		o.MaxRetries, o.ReadTimeout, o.WriteTimeout = 5, 7*time.Second, 9*time.Second
	})
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, publisher.Publish(ownTopic(t), numbered("m", 1)...))
	options := client.Options()
	assert.Equal(t, 5, options.MaxRetries)
	assert.Equal(t, 7*time.Second, options.ReadTimeout)
	assert.Equal(t, 9*time.Second, options.WriteTimeout)
}

func TestPublisher_Close(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	require.NoError(t, err)
	other := openPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, publisher.Publish(topic, numbered("before", 1)...))
	require.NoError(t, publisher.Close())
	require.NoError(t, publisher.Close(), "twice")

	messages := numbered("after", 2)
	err = publisher.Publish(topic, messages...)
	require.ErrorIs(t, err, redisstream.ErrPublisherClosed)
	assert.Equal(t, messages, asPublishError(t, err).Failed)
	assert.Equal(t, []string{"before-0"}, stored(t, client, topic), "the client is open")
	require.NoError(t, other.Publish(topic, numbered("other", 1)...), "and other publishers use it")
}

func TestPublisher_CloseWaitsForCallsUnderWay(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	gate := newGate(topic)
	client.AddHook(gate)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	defer gate.open()
	result := publishing(publisher, topic, numbered("m", 2)...)
	within(t, "the round trip", gate.entered)
	closed := make(chan int64, 2)
	for range 2 { // both wait
		go func() {
			assert.NoError(t, publisher.Close())
			closed <- client.XLen(context.Background(), topic).Val()
		}()
	}
	assert.Never(t, func() bool { return len(closed) > 0 }, 50*time.Millisecond, 10*time.Millisecond)
	gate.open()
	require.NoError(t, within(t, "Publish", result), "Close ends no call that is under way")
	for range 2 {
		assert.EqualValues(t, 2, within(t, "Close", closed))
	}
}

// slow takes as long to marshal as it is told.
type slow struct{ begun, end chan struct{} }

func (s slow) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	s.begun <- struct{}{}
	<-s.end
	return redisstream.MsgpackMarshaler{}.Marshal(topic, msg)
}

func TestPublisher_CloseWaitsForCallsThatHaveSentNothingYet(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	marshaler := slow{begun: make(chan struct{}, 1), end: make(chan struct{})}
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: marshaler})
	result := publishing(publisher, topic, numbered("m", 1)...)
	within(t, "the call of the marshaler", marshaler.begun)
	closed := make(chan error, 1)
	go func() { closed <- publisher.Close() }()
	assert.Never(t, func() bool { return len(closed) > 0 }, 50*time.Millisecond, 10*time.Millisecond)
	close(marshaler.end)
	require.NoError(t, within(t, "Close", closed))
	require.NoError(t, within(t, "Publish", result))
	assert.Equal(t, []string{"m-0"}, stored(t, client, topic))
}

func TestPublisher_CloseThatWaitsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := ownTopic(t)
	gate := newGate(topic)
	client.AddHook(gate)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	defer gate.open()
	result := publishing(publisher, topic, numbered("m", 1)...)
	within(t, "the round trip", gate.entered)
	closed := make(chan error, 1)
	go func() { closed <- publisher.Close() }()
	late := ownTopic(t)
	require.Eventually(t, func() bool { // until Close has begun, it is published
		return errors.Is(within(t, "Publish", publishing(publisher, late, numbered("late", 1)...)), redisstream.ErrPublisherClosed)
	}, soon, time.Millisecond)
	gate.open()
	require.NoError(t, within(t, "Publish", result))
	require.NoError(t, within(t, "Close", closed))
}

func TestPublisher_CloseWhileOthersPublish(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for range 20 {
		topic := ownTopic(t)
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
		require.NoError(t, err)
		var all sync.WaitGroup
		var published atomic.Int64
		started := make(chan struct{}, 100)
		for caller := range 4 {
			all.Go(func() {
				for i := 0; ; i++ {
					err := publisher.Publish(topic, numbered(fmt.Sprintf("%d-%d", caller, i), 1)...)
					if err != nil {
						assert.ErrorIs(t, err, redisstream.ErrPublisherClosed)
						return
					}
					published.Add(1)
					select {
					case started <- struct{}{}:
					default:
					}
				}
			})
		}
		within(t, "a message", started)
		require.NoError(t, publisher.Close())
		atClose := client.XLen(t.Context(), topic).Val()
		all.Wait()
		assert.Equal(t, published.Load(), client.XLen(t.Context(), topic).Val(), "each nil is an entry")
		assert.Equal(t, atClose, client.XLen(t.Context(), topic).Val(), "nothing is sent after Close")
	}
}

func TestPublishError_saysHowMany(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	err := fmt.Errorf("wrapped: %w", &redisstream.PublishError{
		Topic: "orders", Published: numbered("p", 3), Failed: numbered("f", 2), Uncertain: numbered("u", 1), Err: cause,
	})
	assert.EqualError(t, err, `wrapped: publish to "orders": 3 messages published, 2 failed, 1 uncertain: the cause`)
	assert.ErrorIs(t, err, cause)
}
