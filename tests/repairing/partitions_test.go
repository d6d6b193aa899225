package repairing

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const partitions = 3

// partitioned is a topic with partitions, with the group "g" and six entries in each of them.
type partitioned struct {
	*testing.T
	client redis.UniversalClient
	a      *admin.Admin
	names  []string
}

func onServers(t *testing.T, test func(p *partitioned)) {
	t.Helper()
	fixture.OnServers(t, func(t *testing.T, client redis.UniversalClient) {
		t.Helper()
		p := &partitioned{T: t, client: client, names: redisstream.PartitionTopics("orders", partitions)}
		p.a = adminOf(t, p.client)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{
			Client: p.client, Partitions: partitions, PartitionKey: func(msg *message.Message) string { return msg.UUID },
		})
		require.NoError(t, publisher.Publish("orders", fixture.Numbered("m", 60)...))
		for _, name := range p.names {
			require.NoError(t, p.client.XTrimMaxLen(t.Context(), name, 6).Err())
			require.NoError(t, p.client.XGroupCreate(t.Context(), name, "g", "0").Err())
		}
		test(p)
	})
}

// readAs makes entries of each partition pending for a consumer, which is dead by its record.
func (p *partitioned) readAs(consumer string, n int64) {
	p.Helper()
	for _, name := range p.names {
		require.NoError(p, p.client.XReadGroup(p.Context(), &redis.XReadGroupArgs{
			Group: "g", Consumer: consumer, Streams: []string{name, ">"}, Count: n,
		}).Err())
		require.NoError(p, p.client.HSet(p.Context(), redisstream.MembersKey(name, "g"), consumer, staleRecord).Err())
	}
}

func (p *partitioned) group() admin.Group {
	p.Helper()
	group, err := p.a.Group(p.Context(), "orders", "g")
	require.NoError(p, err)
	return group
}

// Actions with the name of the topic work on all partitions.
func TestPartitions(t *testing.T) {
	t.Parallel()
	onServers(t, func(p *partitioned) {
		ctx := p.Context()
		p.readAs("dead", 4)
		require.NoError(p, p.a.Pause(ctx, "orders", "g", "ann", "no milk"))
		for _, name := range p.names {
			assert.EqualValues(p, 1, p.client.Exists(ctx, redisstream.PauseKey(name, "g")).Val())
		}
		assert.Equal(p, admin.GroupPaused, p.group().State)
		require.NoError(p, p.a.Resume(ctx, "orders", "g"))
		assert.Nil(p, p.group().Paused)
		require.NoError(p, p.a.Pause(ctx, p.names[1], "g", "ann", "one partition"))
		assert.Zero(p, p.client.Exists(ctx, redisstream.PauseKey(p.names[0], "g")).Val())
		require.NoError(p, p.a.Resume(ctx, "orders", "g"))

		deletion, err := p.a.DropConsumer(ctx, "orders", "g", "dead", false)
		require.NoError(p, err)
		assert.EqualValues(p, 4*partitions, deletion.Pending)
		assert.EqualValues(p, 4*partitions, p.group().Pending)
		_, err = p.a.DropConsumer(ctx, "orders", "g", "dead", false)
		require.ErrorIs(p, err, admin.ErrNoConsumer)

		reset, err := p.a.Reset(ctx, "orders", "g", admin.ResetTo{ID: "0", DryRun: true})
		require.NoError(p, err)
		assert.Equal(p, admin.Lag{N: 2 * partitions, Exact: admin.LagExact}, reset.Before)
		assert.Equal(p, admin.Lag{N: 6 * partitions, Exact: admin.LagExact}, reset.After)
		assert.Equal(p, "0", reset.To)
		newest, err := p.a.Topic(ctx, "orders")
		require.NoError(p, err)
		reset, err = p.a.Reset(ctx, "orders", "g", admin.ResetTo{ID: newest.LastID})
		require.NoError(p, err, "the ID is beyond the newest one of other partitions")
		assert.EqualValues(p, 4*partitions, reset.Acknowledged)
		assert.Equal(p, admin.GroupIdle, p.group().State)
		_, err = p.a.Reset(ctx, "orders", "g", admin.ResetTo{ID: "9999999999999999-0"})
		require.ErrorIs(p, err, admin.ErrInvalidID)
		_, err = p.a.Reset(ctx, "orders", "nobody", admin.ResetTo{ID: "0"})
		require.ErrorIs(p, err, admin.ErrNoGroup)
		require.ErrorContains(p, err, "orders")
	})
}

// An entry is skipped in the partition that has it. An ID that several have must come with the name of
// one.
func TestSkip_partitions(t *testing.T) {
	t.Parallel()
	onServers(t, func(p *partitioned) {
		ctx := p.Context()
		const one, several = "9999999999998-0", "9999999999999-0"
		for name, id := range map[string]string{p.names[0]: several, p.names[1]: several, p.names[2]: one} {
			require.NoError(p, p.client.XAdd(ctx, &redis.XAddArgs{Stream: name, ID: id, Values: []string{"a", "b"}}).Err())
		}
		p.readAs("c", 7)
		outcome, err := p.a.Skip(ctx, "orders", "g", []string{one}, admin.Skip{DeadLetter: true, Reason: "bad"})
		require.NoError(p, err)
		assert.Equal(p, []string{one}, outcome.IDs)
		letters, err := p.client.XRange(ctx, redisstream.DeadLetterTopic(p.names[2]), "-", "+").Result()
		require.NoError(p, err)
		require.Len(p, letters, 1)
		assert.Equal(p, p.names[2], letters[0].Values[redisstream.DeadLetterStreamKey])
		_, err = p.a.Skip(ctx, "orders", "g", []string{one}, admin.Skip{})
		require.ErrorIs(p, err, admin.ErrNoEntry)

		before := p.group().Pending
		_, err = p.a.Skip(ctx, "orders", "g", []string{several}, admin.Skip{})
		require.ErrorIs(p, err, admin.ErrAmbiguousID)
		require.ErrorContains(p, err, p.names[1])
		_, err = p.a.Message(ctx, "orders", several)
		require.ErrorIs(p, err, admin.ErrAmbiguousID)
		assert.Equal(p, before, p.group().Pending)
		_, err = p.a.Skip(ctx, p.names[1], "g", []string{several}, admin.Skip{})
		require.NoError(p, err)
		_, err = p.a.Skip(ctx, "orders", "g", []string{several}, admin.Skip{})
		require.NoError(p, err, "one is left")
		assert.Equal(p, before-2, p.group().Pending)

		dead, err := p.a.RetryDeadLetters(ctx, "orders", func(admin.DeadLetter) bool { return true }, false)
		require.NoError(p, err)
		assert.Len(p, dead.IDs, 1)
		assert.EqualValues(p, 1, p.group().Parked)
	})
}

// A group with members is not deleted. Then nothing of it is left, in no partition.
func TestDeleteGroup_partitions(t *testing.T) {
	t.Parallel()
	onServers(t, func(p *partitioned) {
		ctx := p.Context()
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
			Client: p.client, ConsumerGroup: "g", Partitions: partitions, ClaimMinIdle: time.Second, CloseTimeout: 10 * time.Millisecond,
		}, nil)
		require.NoError(p, err)
		messages, err := subscriber.Subscribe(ctx, "orders")
		require.NoError(p, err)
		for range 6 * partitions {
			require.True(p, fixture.Receive(p, messages).Ack())
		}
		_, err = p.a.DeleteGroup(ctx, "orders", "g", false)
		require.ErrorIs(p, err, admin.ErrInUse)
		require.NoError(p, subscriber.Close())

		owner := redisstream.OwnerKey(p.names[1], "g")
		require.EqualValues(p, 1, p.client.Exists(ctx, owner).Val())
		inAnHour := time.Now().Add(time.Hour).UnixMilli()
		require.NoError(p, p.client.HSet(ctx, owner, "consumer", "standing still", "until", inAnHour).Err())
		for _, dryRun := range []bool{true, false} {
			_, err = p.a.DeleteGroup(ctx, "orders", "g", dryRun)
			require.ErrorIs(p, err, admin.ErrInUse, "the lease of an owner is not over")
		}
		partitions, err := p.a.Partitions(ctx, "orders")
		require.NoError(p, err)
		for _, partition := range partitions {
			require.Len(p, partition.Groups, 1, "nothing is deleted where one partition refuses")
		}
		require.NoError(p, p.client.HSet(ctx, owner, "until", 1).Err())
		require.NoError(p, p.client.HSet(ctx, redisstream.PartitionMembersKey("orders", "g"), "of the dead", "1 active - -").Err())
		_, err = p.a.DeleteGroup(ctx, "orders", "g", false)
		require.NoError(p, err)
		groups, err := p.a.Groups(ctx, "orders")
		require.NoError(p, err)
		assert.Empty(p, groups)
		left := []string{redisstream.PartitionMembersKey("orders", "g")}
		for _, name := range p.names {
			left = append(left, redisstream.OwnerKey(name, "g"), redisstream.MembersKey(name, "g"))
		}
		for _, key := range left {
			assert.Zero(p, p.client.Exists(ctx, key).Val(), key)
		}
		_, err = p.a.DeleteGroup(ctx, "orders", "g", false)
		require.ErrorIs(p, err, admin.ErrNoGroup)
	})
}
