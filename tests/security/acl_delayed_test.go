package security

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights for delayed messages, as the README documents them beside the users.
var (
	publisherDelayed  = []string{"~orders", "~{orders}:delayed", "+eval", "+evalsha", "+time", "+zadd", "+zrange", "+zrangebyscore", "+zrem"}
	subscriberDelayed = []string{"~{orders}:delayed", "+exists", "+time", "+zadd", "+zrange", "+zrangebyscore", "+zrem"}
)

// forTopic returns rights on the keys of the Bench's topic.
func forTopic(b *fixture.Bench, rights []string) []string {
	list := make([]string, len(rights))
	for i, right := range rights {
		list[i] = strings.ReplaceAll(right, "orders", b.Topic)
	}
	return list
}

func later(wait time.Duration) *message.Message {
	msg := message.NewMessage("later", nil)
	delay.Message(msg, delay.For(wait))
	return msg
}

func TestACL_delayedMessages(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	readme := strings.Join(strings.Fields(fixture.README(t)), " ")
	require.Contains(t, readme, "`"+strings.Join(publisherDelayed, " ")+"`")
	require.Contains(t, readme, "`"+strings.Join(subscriberDelayed, " ")+"`")
	t.Run("the publisher moves", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", forTopic(b, publisherDelayed)...))
		require.NoError(t, fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client}).Publish(b.Topic, later(50*time.Millisecond)))
		b.Eventually("moved", func() bool { return b.Len() == 1 })
		assert.Empty(t, server.Denied(b, "publisher"))
	})
	t.Run("the subscriber moves", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
		require.NoError(t, err)
		require.NoError(t, publisher.Publish(b.Topic, later(50*time.Millisecond)))
		require.NoError(t, publisher.Close())
		config := fixture.GroupConfig()
		config.Client = fixture.ConnectURL(b, server.CreateUser(b, "subscriber", forTopic(b, subscriberDelayed)...))
		_, messages := b.Subscribe(config)
		require.True(t, fixture.Receive(t, messages).Ack())
		assert.Empty(t, server.Denied(b, "subscriber"))
	})
	t.Run("without the rights", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: server.ConnectAs(b, "publisher")})
		err := publisher.Publish(b.Topic, later(time.Hour))
		require.ErrorContains(t, err, "NOPERM")
		require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("now", nil)))

		admin, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
		require.NoError(t, err)
		require.NoError(t, admin.Publish(b.Topic, later(time.Hour)))
		require.NoError(t, admin.Close())
		for _, user := range []string{"subscriber", "listener"} {
			config := redisstream.SubscriberConfig{Client: server.ConnectAs(b, user), StartID: "0", CloseTimeout: time.Second}
			if user == "subscriber" {
				config.ConsumerGroup = "g"
			}
			_, messages := b.Subscribe(config)
			assert.Equal(t, "now", fixture.Receive(t, messages).UUID)
		}
		assert.Empty(t, server.Denied(b, "subscriber"))
		assert.Empty(t, server.Denied(b, "listener"))
	})
}
