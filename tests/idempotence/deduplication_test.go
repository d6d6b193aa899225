package idempotence

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deduplicating returns a Publisher with a window of an hour.
func deduplicating(b *fixture.Bench, change ...func(*redisstream.PublisherConfig)) *redisstream.Publisher {
	b.Helper()
	config := redisstream.PublisherConfig{Client: b.Server.Client(b), DeduplicationWindow: time.Hour}
	for _, f := range change {
		f(&config)
	}
	return fixture.OpenPublisher(b.T, config)
}

// byOrder makes the metadata "order" the key of a message.
func byOrder(c *redisstream.PublisherConfig) {
	c.DeduplicationKey = func(_ string, msg *message.Message) string { return msg.Metadata.Get("order") }
}

func order(number string) *message.Message {
	msg := message.NewMessage("m-"+number, nil)
	msg.Metadata.Set("order", number)
	return msg
}

// Several publishers publish the same messages at the same time.
func TestDeduplication_onePublisherWins(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const publishers, n = 4, 200
	var all sync.WaitGroup
	var list []*redisstream.Publisher
	for range publishers {
		publisher := deduplicating(b)
		list = append(list, publisher)
		all.Go(func() {
			for i := range n {
				assert.NoError(t, publisher.Publish(b.Topic, message.NewMessage(fmt.Sprint("m-", i), nil)))
			}
		})
	}
	all.Wait()
	stored := fixture.StoredUUIDs(t, b.Client, b.Topic)
	assert.Len(t, stored, n)
	checkOrder(t, stored)
	var duplicates int64
	for _, publisher := range list {
		duplicates += publisher.Duplicates()
	}
	assert.EqualValues(t, (publishers-1)*n, duplicates)
}

func TestDeduplication_withinACall(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := deduplicating(b, byOrder)
	require.NoError(t, publisher.Publish(b.Topic, order("1"), order("2"), order("1"), order("3"), order("2")))
	assert.Equal(t, []string{"m-1", "m-2", "m-3"}, fixture.StoredUUIDs(t, b.Client, b.Topic))
	assert.EqualValues(t, 2, publisher.Duplicates())
	require.NoError(t, publisher.Publish(b.Topic+"2", order("1")))
	assert.EqualValues(t, 2, publisher.Duplicates(), "another topic")
}

func TestDeduplication_keysExpire(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := deduplicating(b, byOrder, func(c *redisstream.PublisherConfig) { c.DeduplicationWindow = 200 * time.Millisecond })
	require.NoError(t, publisher.Publish(b.Topic, order("1")))
	b.Eventually("the key expires", func() bool {
		require.NoError(t, publisher.Publish(b.Topic, order("1")))
		return b.Len() == 2
	})
}

func TestDeduplication_survivesARestart(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t, redistest.Durable...))
	require.NoError(t, deduplicating(b).Publish(b.Topic, fixture.Numbered("m", 2)...))
	b.Server.Kill()
	b.Server.Restart(t)
	publisher := deduplicating(b)
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 3)...))
	assert.EqualValues(t, 3, b.Len())
	assert.EqualValues(t, 2, publisher.Duplicates())
}

// A message that is sent again after a lost reply is no duplicate; a duplicate stays one.
func TestDeduplication_lostReplies(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b, func(c *redisstream.PublisherConfig) { c.DeduplicationWindow = time.Hour })
	const n = 50
	for i := range n {
		loseReplies(proxy, once())
		require.NoError(t, publisher.Publish(b.Topic, numberedFrom("m", i, 2)...)) // the second comes again
	}
	assert.EqualValues(t, n+1, b.Len())
	assert.EqualValues(t, n-1, publisher.Duplicates())
}

// A message that the server refused leaves no key.
func TestDeduplication_refusedMessage(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := deduplicating(b)
	b.Do("set", b.Topic, "no stream")
	require.ErrorContains(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...), "WRONGTYPE")
	b.Do("del", b.Topic)
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...))
	assert.EqualValues(t, 2, b.Len())
	assert.Zero(t, publisher.Duplicates())
}

func TestDeduplication_keys(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := deduplicating(b, func(c *redisstream.PublisherConfig) {
		c.DeduplicationKey = func(_ string, msg *message.Message) string {
			if msg.UUID == "panic" {
				panic("no key today")
			}
			return string(msg.Payload)
		}
	})
	huge := strings.Repeat("x", 1<<20)
	for range 2 {
		require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("huge", []byte(huge+"1"))))
		require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("huge", []byte(huge+"2"))))
	}
	assert.EqualValues(t, 2, b.Len())
	assert.EqualValues(t, 2, publisher.Duplicates())
	for _, key := range b.Client.Keys(t.Context(), "{"+b.Topic+"}:published:*").Val() {
		assert.Less(t, len(key), 200)
	}
	for name, want := range map[string]string{"empty": "deduplication key is empty", "panic": "no key today"} {
		messages := []*message.Message{message.NewMessage("good", []byte("good")), message.NewMessage(name, nil)}
		err := publisher.Publish(b.Topic, messages...)
		assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, fmt.Sprintf("message 2 of 2, UUID %q", name))
	}
	assert.EqualValues(t, 2, b.Len())
}

func TestDeduplication_delayedMessage(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := deduplicating(b)
	for range 3 {
		msg := message.NewMessage("later", nil)
		delay.Message(msg, delay.For(50*time.Millisecond))
		require.NoError(t, publisher.Publish(b.Topic, msg))
	}
	assert.EqualValues(t, 2, publisher.Duplicates())
	b.Eventually("it is moved", func() bool { return b.Len() == 1 })
	require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("later", nil)))
	assert.EqualValues(t, 1, b.Len())
}
