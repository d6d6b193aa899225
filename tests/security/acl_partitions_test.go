package security

import (
	"strings"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights for topics with partitions, as the README documents them beside the users.
var (
	publisherPartitions = []string{"~orders", "%W~orders:*", "+eval", "+get", "+set"}
	setPartitions       = []string{"~orders", "+eval", "+evalsha", "+get", "+set"}
)

func TestACL_partitions(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	readme := strings.Join(strings.Fields(fixture.README(t)), " ")
	require.Contains(t, readme, "`"+strings.Join(publisherPartitions, " ")+"`")
	require.Contains(t, readme, "`"+strings.Join(setPartitions, " ")+"`")
	t.Run("publish", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", forTopic(b, publisherPartitions)...))
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Partitions: 3})
		for range 3 {
			require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...))
		}
		assert.Empty(t, server.Denied(b, "publisher"))
	})
	t.Run("set the number", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: 3})
		require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 1)...))
		client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", forTopic(b, setPartitions)...))
		require.NoError(t, redisstream.SetPartitions(t.Context(), client, b.Topic, 3, 6))
		assert.Empty(t, server.Denied(b, "publisher"))
	})
	// Nothing is added if the number of partitions can't be agreed on, or a partition can't be written.
	for _, change := range []string{"-eval", "-get", "-set", "-xadd"} {
		t.Run("without "+change[1:], func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", append(forTopic(b, publisherPartitions), change)...))
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Partitions: 3})
			messages := fixture.Numbered("m", 2)
			err := publisher.Publish(b.Topic, messages...)
			require.NotErrorIs(t, err, redisstream.ErrPartitions)
			assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
			assert.Zero(t, b.Client.Exists(t.Context(), redisstream.PartitionTopics(b.Topic, 3)...).Val())
		})
	}
	// A user who may only write gets the server's own refusal.
	t.Run("without partitions", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		require.NoError(t, b.Client.Set(t.Context(), b.Topic, "partitions=3", 0).Err())
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: server.ConnectAs(b, "publisher")})
		err := publisher.Publish(b.Topic, fixture.Numbered("m", 1)...)
		require.ErrorContains(t, err, "WRONGTYPE")
	})
}
