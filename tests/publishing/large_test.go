package publishing

import (
	"fmt"
	"sync"
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

// overSlowLink returns a Publisher and its client, with a ReadTimeout and a bandwidth that its
// connections share.
func overSlowLink(t *testing.T, bytesPerSecond int, timeout time.Duration) (*redisstream.Publisher, *redis.Client) {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "no")
	proxy := redistest.NewProxy(t, server.Addr, 0)
	proxy.Throttle(bytesPerSecond)
	client := server.Client(t, func(o *redis.Options) {
		o.Addr, o.ReadTimeout, o.WriteTimeout = proxy.Addr, timeout, timeout
	})
	return fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}), server.Client(t)
}

// All messages together take far longer than the client's time-out, so they must not be sent in one
// pipeline.
func TestPublish_manyLargeMessagesOverASlowLink(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ callers, each, size int }{
		"a call each":             {20, 1, 400_000},
		"one call":                {1, 20, 400_000},
		"calls of small messages": {20, 350, 1000},
		"one of small messages":   {1, 7000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			publisher, client := overSlowLink(t, 4_000_000, time.Second)
			topic := fixture.NewTopic(t)
			var all sync.WaitGroup
			for caller := range test.callers {
				all.Go(func() {
					assert.NoError(t, publisher.Publish(topic, fixture.Heavy(fmt.Sprint(caller), test.each, test.size)...))
				})
			}
			all.Wait()
			assert.EqualValues(t, test.callers*test.each, client.XLen(t.Context(), topic).Val())
		})
	}
}

// Topics on one server share the link.
func TestPublish_largeMessagesToManyTopicsOverASlowLink(t *testing.T) {
	t.Parallel()
	publisher, client := overSlowLink(t, 4_000_000, 600*time.Millisecond)
	topic := fixture.NewTopic(t)
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			assert.NoError(t, publisher.Publish(fmt.Sprint(topic, i), fixture.Heavy("m", 1, 300_000)...))
		})
	}
	all.Wait()
	assert.EqualValues(t, 30, client.DBSize(t.Context()).Val())
}

func TestPublish_aCallOfManyPipelinesKeepsItsOrder(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := fixture.NewTopic(t)
	var messages []*message.Message
	for i, size := range []int{10, 100_000, 50_000, 65_536, 65_000, 200_000, 1, 300_000} {
		messages = append(messages, fixture.Heavy(fmt.Sprint("m", i), 5, size)...)
	}
	messages = append(messages, fixture.Numbered("small", 10_000)...)
	var all sync.WaitGroup
	for i := range 4 { // other calls use the queue too
		all.Go(func() {
			for j := range 50 {
				assert.NoError(t, publisher.Publish(topic+"other", fixture.Numbered(fmt.Sprint(i, j), 1)...))
			}
		})
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	all.Wait()
	assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, client, topic))
}

// After a failed pipeline the rest of the call is not sent: published again, the messages would be
// out of order.
func TestPublish_theRestOfACallIsNotSentAfterAFailure(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "30mb", "--maxmemory-policy", "noeviction")
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	topic := fixture.NewTopic(t)
	messages := append(fixture.Heavy("large", 60, 1<<20), fixture.Numbered("small", 1)...)
	err := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic, messages...)
	failure := fixture.AsPublishError(t, err)
	require.ErrorContains(t, err, "OOM")
	checkOutcome(t, failure, messages, fixture.StoredUUIDs(t, client, topic))
	require.NotEmpty(t, failure.Published)
	assert.Equal(t, fixture.UUIDs(messages[len(failure.Published):]), fixture.UUIDs(failure.Failed))
}

// The server closes the connection when a message is too long for it. Other messages are not
// affected.
func TestPublish_anOversizedMessageHurtsNoOther(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1_200_000, 20_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--proto-max-bulk-len", "1mb", "--appendonly", "no")
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: server.Client(t)})
			topic := fixture.NewTopic(t)
			var all sync.WaitGroup
			for caller := range 20 {
				all.Go(func() {
					for i := range 10 {
						each := 10
						if i == 3 {
							each = 200_000
						}
						assert.NoError(t, publisher.Publish(topic, fixture.Heavy(fmt.Sprint(caller, "-", i), 2, each)...))
					}
				})
			}
			for caller := range 3 {
				all.Go(func() {
					for range 3 {
						messages := fixture.Heavy(fmt.Sprint("oversized-", caller), 1, size)
						failure := fixture.AsPublishError(t, publisher.Publish(topic, messages...))
						assert.Equal(t, fixture.UUIDs(messages), fixture.UUIDs(failure.Failed), "the long message is certainly not added: %v", failure.Err)
						assert.ErrorContains(t, failure, "proto-max-bulk-len")
					}
				})
			}
			all.Wait()
			assert.EqualValues(t, 20*10*2, server.Client(t).XLen(t.Context(), topic).Val())
		})
	}
}

// When the server hangs, queued calls fail within the time-outs of a few pipelines.
func TestPublish_largeMessagesToAServerThatHangs(t *testing.T) {
	t.Parallel()
	publisher, proxy := throughProxy(t, func(o *redis.Options) { o.ReadTimeout = 300 * time.Millisecond })
	replies := holdReplies(proxy)
	defer replies.release()
	topic := fixture.NewTopic(t)
	began := time.Now()
	var results []<-chan error
	for i := range 100 {
		results = append(results, fixture.GoPublish(publisher, topic, fixture.Heavy(fmt.Sprint(i), 1, 400_000)...))
	}
	failed := 0
	for _, result := range results {
		failed += len(fixture.AsPublishError(t, redistest.Within(t, "Publish", result)).Failed)
	}
	assert.Less(t, time.Since(began), fixture.Soon, "one at a time they would take half a minute")
	assert.NotZero(t, failed, "messages that were not sent are Failed")
}

// The reply to a message of 1 MiB or more is read in a different way.
func TestPublish_aLongMessage(t *testing.T) {
	t.Parallel()
	one, cluster := redistest.Shared(), redistest.StartCluster(t)
	for name, test := range map[string]struct {
		server *redistest.Server
		client redis.UniversalClient
	}{
		"client":  {one, one.Client(t)},
		"RESP2":   {one, one.Client(t, func(o *redis.Options) { o.Protocol = 2 })},
		"ring":    {one, redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": one.Addr}})},
		"cluster": {cluster, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cluster.Addr}})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() { _ = test.client.Close() })
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: test.client})
			topic, text := fixture.NewTopic(t), fixture.NewTopic(t)
			messages := fixture.Heavy("long", 3, 1_200_000)
			require.NoError(t, publisher.Publish(topic, messages...))
			assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, test.client, topic))

			require.NoError(t, test.client.Set(t.Context(), text, "no stream", 0).Err())
			failure := fixture.AsPublishError(t, publisher.Publish(text, messages...))
			require.ErrorContains(t, failure, "WRONGTYPE")
			assert.Equal(t, fixture.UUIDs(messages), fixture.UUIDs(failure.Failed))
		})
	}
}
