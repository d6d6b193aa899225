package adminui_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page of a group has a table of partitions with their owners, and entries link to their partition.
func TestPartitions(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	s := open(b, nil)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: 3})
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 3)...))
	subscriber, messages := b.Subscribe(redisstream.SubscriberConfig{
		Client: b.Client, ConsumerGroup: "g", Partitions: 3, ClaimMinIdle: 2 * time.Second, CloseTimeout: 10 * time.Millisecond,
	})
	held := fixture.Receive(t, messages)
	name := fixture.EntryOf(t, held).Stream
	owner := b.Client.HGet(t.Context(), redisstream.OwnerKey(name, "g"), "consumer").Val()
	require.NotEmpty(t, owner)
	assert.Contains(t, s.page("topic", "topic", b.Topic), "<dt>Partitions</dt><dd>3</dd>")
	page := s.page("group", "topic", b.Topic, "group", "g")
	assert.Contains(t, page, "Partitions of the topic, for this group")
	assert.Contains(t, page, owner)
	assert.Contains(t, s.page("pending", "topic", b.Topic, "group", "g"), "%2f3%3a%7b")
	held.Nack()
	require.NoError(t, subscriber.Close())
}
