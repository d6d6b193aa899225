package publishing

import (
	"fmt"
	"slices"
	"strings"
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

func TestPublish_keepsTheOrder(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	var want []string
	for call := range 30 {
		messages := fixture.Numbered(fmt.Sprintf("call %d", call), 1+call*call)
		require.NoError(t, publisher.Publish(topic, messages...))
		want = append(want, fixture.UUIDs(messages)...)
	}
	assert.Equal(t, want, fixture.StoredUUIDs(t, client, topic))
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
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: far})
			topic := fixture.NewTopic(t)
			var all sync.WaitGroup
			for caller := range callers {
				all.Go(func() {
					messages := fixture.Numbered(fmt.Sprint(caller), calls*each)
					for chunk := range slices.Chunk(messages, each) {
						assert.NoError(t, publisher.Publish(topic, chunk...))
					}
				})
			}
			all.Wait()
			perCaller := map[string][]string{}
			for _, uuid := range fixture.StoredUUIDs(t, client, topic) {
				caller, _, _ := strings.Cut(uuid, "-")
				perCaller[caller] = append(perCaller[caller], uuid)
			}
			assert.Len(t, perCaller, callers)
			for caller, got := range perCaller {
				assert.Equal(t, fixture.UUIDs(fixture.Numbered(caller, calls*each)), got)
			}
		})
	}
}

func TestPublish_ofNothingIsNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	require.NoError(t, fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic))
	assert.Zero(t, client.Exists(t.Context(), topic).Val())
}

func TestPublish_everyFieldArrives(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	msg := message.NewMessage("uuid", fixture.AllBytes())
	msg.Metadata.Set("name", "value")
	require.NoError(t, fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic, msg))
	entries, err := client.XRange(t.Context(), topic, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 1)
	got, err := redisstream.MsgpackMarshaler{}.Unmarshal(entries[0].ID, entries[0].Values)
	require.NoError(t, err)
	assert.True(t, msg.Equals(got))
}

func TestPublish_runsTheHooksOfTheClient(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	before, after := &xaddHook{}, &xaddHook{}
	before.addTo(client)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	after.addTo(client)
	topic := fixture.NewTopic(t)
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("m", 1)...))
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("m", 3)...))
	for _, hook := range []*xaddHook{before, after} {
		count, largest := hook.roundTrips()
		assert.Equal(t, 2, count)
		assert.Equal(t, 3, largest)
	}
}

func TestPublish_aTopicThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	hung, other := openGated(t, nil), fixture.NewTopic(t)
	first := hung.publish("m", 1)
	redistest.Within(t, "the round trip", hung.entered)
	for range 10 {
		require.NoError(t, redistest.Within(t, "Publish", fixture.GoPublish(hung.publisher, other, fixture.Numbered("m", 1)...)))
	}
	hung.open()
	require.NoError(t, redistest.Within(t, "Publish", first))
}

func TestPublish_concurrentCallsShareRoundTrips(t *testing.T) {
	t.Parallel()
	var marshaled atomic.Int64
	g := openGated(t, moody{&marshaled})
	const callers = 16
	results := make([]<-chan error, callers)
	for i := range callers {
		results[i] = g.publish(fmt.Sprint(i), 1)
	}
	redistest.Within(t, "the first round trip", g.entered)
	require.Eventually(t, func() bool { return marshaled.Load() == callers }, fixture.Soon, time.Millisecond)
	g.open()
	for _, result := range results {
		require.NoError(t, redistest.Within(t, "Publish", result))
	}
	assert.Len(t, fixture.StoredUUIDs(t, g.client, g.topic), callers)
	roundTrips, _ := g.roundTrips()
	assert.Less(t, roundTrips, callers/2)
}

func TestPublish_MaxLenKeepsTheStreamAboutThatLong(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, MaxLen: 500})
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("first", 2000)...))
	for i := range 10 {
		require.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint(i), 1)...))
	}
	inStream := fixture.StoredUUIDs(t, client, topic)
	assert.GreaterOrEqual(t, len(inStream), 500)
	assert.LessOrEqual(t, len(inStream), 700, "whole nodes of 100 entries are trimmed")
	assert.Equal(t, "9-0", inStream[len(inStream)-1])
}

func TestPublisher_leavesTheClientsOptionsAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t, func(o *redis.Options) {
		o.MaxRetries, o.ReadTimeout, o.WriteTimeout = 5, 7*time.Second, 9*time.Second
	})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, publisher.Publish(fixture.NewTopic(t), fixture.Numbered("m", 1)...))
	options := client.Options()
	assert.Equal(t, 5, options.MaxRetries)
	assert.Equal(t, 7*time.Second, options.ReadTimeout)
	assert.Equal(t, 9*time.Second, options.WriteTimeout)
}
