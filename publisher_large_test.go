package redisstream_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heavy returns n messages with payloads of so many bytes.
func heavy(prefix string, n, bytesEach int) []*message.Message {
	messages := numbered(prefix, n)
	for _, msg := range messages {
		msg.Payload = bytes.Repeat([]byte("x"), bytesEach)
	}
	return messages
}

// overSlowLink returns a Publisher whose connections share a bandwidth, and whose replies must come soon.
func overSlowLink(t *testing.T, bytesPerSecond int, timeout time.Duration) (*redisstream.Publisher, *redis.Client) {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "no")
	proxy := redistest.NewProxy(t, server.Addr, 0)
	proxy.Throttle(bytesPerSecond)
	client := server.Client(t, func(o *redis.Options) {
		o.Addr, o.ReadTimeout, o.WriteTimeout = proxy.Addr, timeout, timeout
	})
	return openPublisher(t, redisstream.PublisherConfig{Client: client}), server.Client(t)
}

// Together the messages take far longer than a reply may take: they may not go together.
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
			topic := ownTopic(t)
			var all sync.WaitGroup
			for caller := range test.callers {
				all.Go(func() {
					assert.NoError(t, publisher.Publish(topic, heavy(fmt.Sprint(caller), test.each, test.size)...))
				})
			}
			all.Wait()
			assert.EqualValues(t, test.callers*test.each, client.XLen(t.Context(), topic).Val())
		})
	}
}

// Topics of one server share the link.
func TestPublish_largeMessagesToManyTopicsOverASlowLink(t *testing.T) {
	t.Parallel()
	publisher, client := overSlowLink(t, 4_000_000, 600*time.Millisecond)
	topic := ownTopic(t)
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			assert.NoError(t, publisher.Publish(fmt.Sprint(topic, i), heavy("m", 1, 300_000)...))
		})
	}
	all.Wait()
	assert.EqualValues(t, 30, client.DBSize(t.Context()).Val())
}

func TestPublish_aCallOfManyPipelinesKeepsItsOrder(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	topic := ownTopic(t)
	var messages []*message.Message
	for i, size := range []int{10, 100_000, 50_000, 65_536, 65_000, 200_000, 1, 300_000} {
		messages = append(messages, heavy(fmt.Sprint("m", i), 5, size)...)
	}
	messages = append(messages, numbered("small", 10_000)...)
	var all sync.WaitGroup
	for i := range 4 { // others use the queue, too
		all.Go(func() {
			for j := range 50 {
				assert.NoError(t, publisher.Publish(topic+"other", numbered(fmt.Sprint(i, j), 1)...))
			}
		})
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	all.Wait()
	assert.Equal(t, uuids(messages), stored(t, client, topic))
}

// After a pipeline that failed the rest of the call is not sent: it would come in another order when it is published again.
func TestPublish_theRestOfACallIsNotSentAfterAFailure(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "30mb", "--maxmemory-policy", "noeviction")
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	topic := ownTopic(t)
	messages := append(heavy("large", 60, 1<<20), numbered("small", 1)...)
	err := openPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(topic, messages...)
	failure := asPublishError(t, err)
	require.ErrorContains(t, err, "OOM")
	checkOutcome(t, failure, messages, stored(t, client, topic))
	require.NotEmpty(t, failure.Published)
	assert.Equal(t, uuids(messages[len(failure.Published):]), uuids(failure.Failed))
}

// The server closes the connection of a message that is longer than it takes. That touches no other message.
func TestPublish_anOversizedMessageHurtsNoOther(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1_200_000, 20_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--proto-max-bulk-len", "1mb", "--appendonly", "no")
			publisher := openPublisher(t, redisstream.PublisherConfig{Client: server.Client(t)})
			topic := ownTopic(t)
			var all sync.WaitGroup
			for caller := range 20 {
				all.Go(func() {
					for i := range 10 {
						each := 10
						if i == 3 {
							each = 200_000
						}
						assert.NoError(t, publisher.Publish(topic, heavy(fmt.Sprint(caller, "-", i), 2, each)...))
					}
				})
			}
			for caller := range 3 {
				all.Go(func() {
					for range 3 {
						messages := heavy(fmt.Sprint("oversized-", caller), 1, size)
						failure := asPublishError(t, publisher.Publish(topic, messages...))
						assert.Equal(t, uuids(messages), uuids(failure.Failed), "it is certainly not added: %v", failure.Err)
						assert.ErrorContains(t, failure, "proto-max-bulk-len")
					}
				})
			}
			all.Wait()
			assert.EqualValues(t, 20*10*2, server.Client(t).XLen(t.Context(), topic).Val())
		})
	}
}

// A server that hangs fails all who wait for their turn within the time-outs of a few pipelines.
func TestPublish_largeMessagesToAServerThatHangs(t *testing.T) {
	t.Parallel()
	publisher, proxy := throughProxy(t, func(o *redis.Options) { o.ReadTimeout = 300 * time.Millisecond })
	replies := holdReplies(proxy)
	defer replies.release()
	topic := ownTopic(t)
	began := time.Now()
	var results []<-chan error
	for i := range 100 {
		results = append(results, publishing(publisher, topic, heavy(fmt.Sprint(i), 1, 400_000)...))
	}
	failed := 0
	for _, result := range results {
		failed += len(asPublishError(t, redistest.Within(t, "Publish", result)).Failed)
	}
	assert.Less(t, time.Since(began), soon, "one after the other would take half a minute")
	assert.NotZero(t, failed, "those that were not sent say so")
}
