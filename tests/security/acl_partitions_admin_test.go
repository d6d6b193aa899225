package security

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The inspector, the operator and the replayer work on a topic with partitions if they have the right
// on the partitions' keys, too.
func TestACL_partitionsAdmin(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "the replayer, the inspector and the operator `~orders:*` |")
	b := server.NewBench(t)
	ctx, topic := t.Context(), b.Topic
	as := func(user string) redis.UniversalClient {
		return fixture.ConnectURL(b, server.CreateUser(b, user, "~"+topic+":*"))
	}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: 3})
	for range 3 {
		require.NoError(t, publisher.Publish(topic, fixture.Numbered("m", 1)...))
		require.NoError(t, publisher.Publish(topic, later(time.Hour)))
	}
	names := redisstream.PartitionTopics(topic, 3)
	b.AddDeadLetter(names[0], "first")
	b.AddDeadLetter(names[2], "second")
	subscriber, messages := b.Subscribe(redisstream.SubscriberConfig{
		Client: b.Client, ConsumerGroup: "g", Partitions: 3, ClaimMinIdle: time.Second, CloseTimeout: 10 * time.Millisecond,
	})
	held := fixture.Receive(t, messages)

	inspector, err := admin.New(admin.Config{Client: as("inspector")})
	require.NoError(t, err)
	found, err := inspector.Topic(ctx, topic)
	require.NoError(t, err)
	assert.Equal(t, 3, found.Partitions)
	assert.Positive(t, found.Bytes)
	assert.Equal(t, 1, drain(t, inspector.Topics(ctx, "")))
	members, err := inspector.Members(ctx, topic, "g")
	require.NoError(t, err)
	assert.Len(t, members, 1)
	detail, err := inspector.Partitions(ctx, topic)
	require.NoError(t, err)
	for _, partition := range detail {
		assert.Len(t, partition.Groups, 1)
	}
	b.Eventually("the owner of each partition is seen", func() bool {
		detail, err = inspector.Partitions(ctx, topic)
		require.NoError(t, err)
		for _, partition := range detail {
			if partition.Groups[0].Owner == nil {
				return false
			}
		}
		return true
	})
	_, err = inspector.Consumers(ctx, topic, "g")
	require.NoError(t, err)
	assert.Positive(t, drain(t, inspector.Pending(ctx, topic, "g", admin.PendingFilter{})))
	assert.Equal(t, 3, drain(t, inspector.Messages(ctx, topic, admin.Range{})))
	assert.Equal(t, 2, drain(t, inspector.DeadLetters(ctx, topic)))
	assert.Equal(t, 3, drain(t, inspector.Delayed(ctx, topic)))
	assert.Zero(t, drain(t, inspector.Parked(ctx, topic, "g")))
	assert.Empty(t, server.Denied(b, "inspector"))

	held.Nack()
	require.NoError(t, subscriber.Close())
	operator, err := admin.New(admin.Config{Client: as("operator")})
	require.NoError(t, err)
	require.NoError(t, operator.Pause(ctx, topic, "g", "ann", "no milk"))
	require.NoError(t, operator.Resume(ctx, topic, "g"))
	_, err = operator.Reset(ctx, topic, "g", admin.ResetTo{ID: "0"})
	require.NoError(t, err)
	_, err = operator.DropDeadLetters(ctx, topic, func(l admin.DeadLetter) bool { return l.Stream == names[0] }, false)
	require.NoError(t, err)
	_, err = operator.DeliverDelayed(ctx, topic, func(admin.Delayed) bool { return true }, false)
	require.NoError(t, err)
	for _, name := range names { // what Close released may still be pending for its name
		for _, consumer := range b.Client.XInfoConsumers(ctx, name, "g").Val() {
			b.Do("HSET", redisstream.MembersKey(name, "g"), consumer.Name, `1000 {"every":1000000000}`)
		}
	}
	_, err = operator.DeleteGroup(ctx, topic, "g", false)
	require.NoError(t, err)
	assert.Zero(t, b.Client.Exists(ctx, redisstream.PartitionMembersKey(topic, "g")).Val())
	assert.Empty(t, server.Denied(b, "operator"))

	moved, err := redisstream.ReplayDeadLetters(ctx, as("replayer"), topic, 10)
	require.NoError(t, err)
	assert.Equal(t, 1, moved)
	assert.Empty(t, server.Denied(b, "replayer"))
}
