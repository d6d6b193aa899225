package redisstream_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A part of a call that too few replicas have ends the call: each further one would wait as long.
func TestWait_theRestOfACallIsNotSent(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	client := master.Client(t)
	topic := ownTopic(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 5 * time.Second})
	messages := heavy("m", 10, 100_000)
	require.NoError(t, publisher.Publish(topic, messages...))
	require.NoError(t, publisher.Publish(topic, heavy("long", 2, 1_500_000)...))
	require.NoError(t, publisher.Close())

	publisher = openPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 100 * time.Millisecond})
	replicas[0].Pause()
	defer replicas[0].Resume()
	err := publisher.Publish(topic, messages...)
	require.ErrorIs(t, err, redisstream.ErrNotReplicated)
	failure := asPublishError(t, err)
	assert.Equal(t, uuids(messages[:1]), uuids(failure.Uncertain))
	assert.Equal(t, uuids(messages[1:]), uuids(failure.Failed))
	assert.EqualValues(t, 10+2+1, client.XLen(t.Context(), topic).Val())
}

// The reply to a message of 1 MiB and more is read in another way than others.
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
			publisher := openPublisher(t, redisstream.PublisherConfig{Client: test.client})
			topic, text := ownTopic(t), ownTopic(t)
			messages := heavy("long", 3, 1_200_000)
			require.NoError(t, publisher.Publish(topic, messages...))
			assert.Equal(t, uuids(messages), stored(t, test.client, topic))

			require.NoError(t, test.client.Set(t.Context(), text, "no stream", 0).Err())
			failure := asPublishError(t, publisher.Publish(text, messages...))
			require.ErrorContains(t, failure, "WRONGTYPE")
			assert.Equal(t, uuids(messages), uuids(failure.Failed))
		})
	}
}
