package security

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights to publish once, as the README documents them beside the users.
var (
	publisherIdempotent    = []string{"~orders", "~{orders}:producer:*", "+eval", "+evalsha", "+get", "+set", "+xinfo|stream"}
	publisherDeduplicating = []string{"~{orders}:published:*", "+del"}
)

func TestACL_publishingOnce(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	readme := strings.ReplaceAll(strings.Join(strings.Fields(fixture.README(t)), " "), `\|`, "|")
	require.Contains(t, readme, "`"+strings.Join(publisherIdempotent, " ")+"`")
	require.Contains(t, readme, "`"+strings.Join(publisherDeduplicating, " ")+"`")
	t.Run("Idempotent", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", forTopic(b, publisherIdempotent)...))
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Idempotent: true})
		for range 3 {
			require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...))
		}
		assert.Empty(t, server.Denied(b, "publisher"))
	})
	t.Run("DeduplicationWindow", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		rights := append(forTopic(b, publisherIdempotent), forTopic(b, publisherDeduplicating)...)
		client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", rights...))
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, DeduplicationWindow: time.Hour})
		for range 3 {
			require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...))
		}
		assert.EqualValues(t, 4, publisher.Duplicates())
		assert.Empty(t, server.Denied(b, "publisher"))
	})
	t.Run("without the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: server.ConnectAs(b, "publisher"), Idempotent: true})
		messages := []*message.Message{message.NewMessage("m", nil)}
		err := publisher.Publish(b.Topic, messages...)
		require.ErrorContains(t, err, "NOPERM")
		assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	})
	// The right to a command in the script is missing: nothing is added.
	for _, command := range []string{"get", "set", "xadd"} {
		t.Run("without "+command, func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			rights := append(forTopic(b, publisherIdempotent), "-"+command)
			client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", rights...))
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Idempotent: true})
			messages := fixture.Numbered("m", 2)
			assert.Equal(t, messages, fixture.AsPublishError(t, publisher.Publish(b.Topic, messages...)).Failed)
			assert.Zero(t, b.Client.XLen(t.Context(), b.Topic).Val())
		})
	}
}
