package transactions

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCommit_cluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t)
	topic := fixture.NewTopic(t)
	config := fixture.GroupConfig()
	config.Client = client
	subscriber, err := redisstream.NewSubscriber(config, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	input := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	same, other := "{"+topic+"}:count", "other-slot-than-"+topic
	for i, move := range []bool{false, true} { // the second time, the slot has moved
		require.NoError(t, input.Publish(topic, fixture.Numbered("m", 1)...))
		msg := fixture.Receive(t, messages)
		err = redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
			tx.Incr(t.Context(), same)
			tx.Incr(t.Context(), other)
			return nil
		})
		require.ErrorIs(t, err, redisstream.ErrCommitRefused)
		require.ErrorContains(t, err, `incr: key "`+other+`" is in another hash slot than "`+topic+`"`)
		require.EqualValues(t, i, client.Exists(t.Context(), same).Val())
		if move {
			cluster.MoveSlot(t, topic, cluster.Other(t, topic))
		}
		require.NoError(t, redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
			tx.Incr(t.Context(), same)
			return publisher.In(tx).Publish("{"+topic+"}:events", fixture.Numbered("event", 1)...)
		}))
		msg.Ack()
	}
	assert.Equal(t, "2", client.Get(t.Context(), same).Val())
	assert.EqualValues(t, 2, client.XLen(t.Context(), "{"+topic+"}:events").Val())
	assert.Zero(t, client.XPending(t.Context(), topic, "g").Val().Count)
}
