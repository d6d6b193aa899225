package delayed

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// uuidOf returns the UUID of a delayed message.
func uuidOf(msg redisstream.DelayedMessage) string {
	return msg.Fields["_watermill_message_uuid"].(string)
}

// list returns the UUIDs of the delayed messages.
func list(t *testing.T, b *fixture.Bench) (uuids []string) {
	t.Helper()
	for msg, err := range redisstream.DelayedMessages(t.Context(), b.Client, b.Topic) {
		require.NoError(t, err)
		uuids = append(uuids, uuidOf(msg))
	}
	return uuids
}

func TestDelayedMessages_listDropDeliver(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	messages := make([]*message.Message, 250)
	var want []string
	for i := range messages {
		messages[i] = delayed(fmt.Sprint(i), time.Hour+time.Duration(i)*time.Second)
		want = append(want, messages[i].UUID)
	}
	require.NoError(t, publisher.Publish(b.Topic, messages...))
	assert.Equal(t, want, list(t, b))
	ids := map[string]bool{}
	for msg, err := range redisstream.DelayedMessages(t.Context(), b.Client, b.Topic) {
		require.NoError(t, err)
		ids[msg.ID] = true
		assert.WithinDuration(t, time.Now().Add(time.Hour), msg.Due, 6*time.Minute)
		assert.Equal(t, uuidOf(msg), msg.Fields["payload"])
	}
	assert.Len(t, ids, len(messages))

	n, err := redisstream.DropDelayedMessages(t.Context(), b.Client, b.Topic, func(m redisstream.DelayedMessage) bool { return uuidOf(m) != "7" })
	require.NoError(t, err)
	assert.Equal(t, 249, n)
	assert.Equal(t, []string{"7"}, list(t, b))

	n, err = redisstream.DeliverDelayedMessages(t.Context(), b.Client, b.Topic, func(redisstream.DelayedMessage) bool { return true })
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Empty(t, list(t, b))
	assert.Equal(t, []string{"7"}, fixture.StoredUUIDs(t, b.Client, b.Topic))

	n, err = redisstream.DeliverDelayedMessages(t.Context(), b.Client, b.Topic, func(redisstream.DelayedMessage) bool { return true })
	require.NoError(t, err)
	assert.Zero(t, n)
}

func TestDelayedMessages_errors(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	require.NoError(t, b.Client.Set(t.Context(), redisstream.DelayedKey(b.Topic), "", 0).Err())
	all := func(redisstream.DelayedMessage) bool { return true }
	_, dropped := redisstream.DropDelayedMessages(t.Context(), b.Client, b.Topic, all)
	_, delivered := redisstream.DeliverDelayedMessages(t.Context(), b.Client, b.Topic, all)
	for _, err := range []error{dropped, delivered} {
		require.ErrorContains(t, err, "WRONGTYPE")
		assert.ErrorContains(t, err, b.Topic)
	}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	err := publisher.Publish(b.Topic, delayed("later", time.Hour))
	require.ErrorContains(t, err, "WRONGTYPE")
	assert.Len(t, fixture.AsPublishError(t, err).Failed, 1)
	require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("now", nil)))
}
