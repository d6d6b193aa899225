package inspecting

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const partitions = 12

// keyOf is the PartitionKey of the tests.
func keyOf(msg *message.Message) string { return msg.UUID }

// A topic with partitions is one topic: on one server, and on several.
func TestPartitions(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		testPartitions(&fixture.Bench{T: t}, redistest.Start(t).Client(t))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		testPartitions(&fixture.Bench{T: t}, redistest.StartFullCluster(t).Client(t))
	})
}

func testPartitions(b *fixture.Bench, client redis.UniversalClient) {
	b.Helper()
	t := b.T
	const n = 60
	a, err := admin.New(admin.Config{Client: client})
	require.NoError(t, err)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Partitions: partitions, PartitionKey: keyOf})
	messages := fixture.Numbered("m", n)
	require.NoError(t, publisher.Publish("orders", messages...))
	late := message.NewMessage("late", nil)
	delay.Message(late, delay.For(2*time.Hour))
	soon := message.NewMessage("soon", nil)
	delay.Message(soon, delay.For(time.Hour))
	require.NoError(t, publisher.Publish("orders", late, soon))
	names := redisstream.PartitionTopics("orders", partitions)
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: "plain", Values: []string{"a", "b"}}).Err())
	for i, name := range []string{names[5], names[2]} {
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{
			Stream: redisstream.DeadLetterTopic(name), ID: strconv.Itoa(i+1) + "-0", Values: []any{"_watermill_message_uuid", "dead", "n", i},
		}).Err())
	}

	for _, pattern := range []string{"", "*", "ord*", "orders"} {
		var listed []string
		for _, topic := range all(b, a.Topics(t.Context(), pattern)) {
			listed = append(listed, topic.Name)
		}
		slices.Sort(listed)
		want := []string{"orders", "plain"}
		assert.Equal(t, want[:len(listed)], listed, pattern)
		assert.NotEmpty(t, listed, pattern)
	}
	topic, err := a.Topic(t.Context(), "orders")
	require.NoError(t, err)
	assert.Equal(t, [4]int64{n, n, 2, 2}, [4]int64{topic.Length, topic.Added, topic.DeadLetters, topic.Delayed})
	assert.Equal(t, partitions, topic.Partitions)
	assert.Positive(t, topic.Bytes)

	first, second := share(t, client), share(t, client)
	var members []admin.Member
	b.Eventually("two members share", func() bool {
		members, err = a.Members(t.Context(), "orders", "g")
		require.NoError(t, err)
		return len(members) == 2 && len(members[0].Partitions) == partitions/2 && len(members[1].Partitions) == partitions/2
	})
	assert.Positive(t, members[0].Lease)
	var detail []admin.TopicSnapshot
	b.Eventually("each partition has an owner, and a message in flight", func() bool {
		detail, err = a.Partitions(t.Context(), "orders")
		require.NoError(t, err)
		return len(detail) == partitions && !slices.ContainsFunc(detail, func(s admin.TopicSnapshot) bool {
			return s.Groups[0].Owner == nil || s.Groups[0].Pending == 0
		})
	})
	for i, one := range detail {
		assert.Equal(t, names[i], one.Topic.Name)
		owner := one.Groups[0].Owner
		assert.Positive(t, owner.Lease)
		generation, err := client.HGet(t.Context(), redisstream.OwnerKey(names[i], "g"), "generation").Int64()
		require.NoError(t, err)
		assert.Equal(t, generation, owner.Generation)
	}

	groups, err := a.Groups(t.Context(), "orders")
	require.NoError(t, err)
	require.Len(t, groups, 1)
	group := groups[0]
	assert.Equal(t, int64(n), group.Pending+group.Lag.N)
	assert.Equal(t, admin.LagExact, group.Lag.Exact)
	assert.Equal(t, 2, group.Members, "members, not their consumers")
	assert.Equal(t, admin.GroupWorking, group.State)
	assert.Equal(t, topic.FirstID, group.OldestID)
	snapshot, err := a.Snapshot(t.Context(), 0, "orders", "plain")
	require.NoError(t, err)
	require.Len(t, snapshot.Topics, 2)
	assert.Equal(t, int64(n), snapshot.Topics[0].Topic.Length)
	assert.Equal(t, 2, snapshot.Topics[0].Groups[0].Members)
	everything, err := a.Snapshot(t.Context(), 0)
	require.NoError(t, err)
	assert.Len(t, everything.Topics, 2)
	assert.Empty(t, group.Owner)

	consumers, err := a.Consumers(t.Context(), "orders", "g")
	require.NoError(t, err)
	var owned []string
	for _, c := range consumers {
		owned = append(owned, c.Owns...)
	}
	slices.Sort(owned)
	assert.Equal(t, slices.Sorted(slices.Values(names)), owned)
	pending := all(b, a.Pending(t.Context(), "orders", "g", admin.PendingFilter{}))
	assert.Len(t, pending, int(group.Pending))
	for i := range pending[1:] {
		older, _, _ := strings.Cut(pending[i].ID, "-")
		newer, _, _ := strings.Cut(pending[i+1].ID, "-")
		assert.LessOrEqual(t, older, newer, "the oldest first")
	}

	read := all(b, a.Messages(t.Context(), "orders", admin.Range{}))
	require.Len(t, read, n)
	assert.True(t, slices.IsSortedFunc(read, func(x, y admin.Message) int { return x.Time.Compare(y.Time) }))
	for _, msg := range read {
		assert.Equal(t, names[redisstream.PartitionOf(msg.UUID, partitions)], msg.Stream)
	}
	newest := all(b, a.Messages(t.Context(), "orders", admin.Range{Reverse: true}))
	assert.True(t, slices.IsSortedFunc(newest, func(x, y admin.Message) int { return y.Time.Compare(x.Time) }))
	found := all(b, a.Find(t.Context(), "orders", messages[n-1].UUID, admin.Range{}))
	require.Len(t, found, 1)
	assert.Equal(t, names[redisstream.PartitionOf(messages[n-1].UUID, partitions)], found[0].Stream)
	assert.Len(t, all(b, a.Find(t.Context(), "orders", "dead", admin.Range{})), 2)
	var due []string
	for _, delayed := range all(b, a.Delayed(t.Context(), "orders")) {
		due = append(due, delayed.Message.UUID)
	}
	assert.Equal(t, []string{"soon", "late"}, due)
	var letters []string
	for _, letter := range all(b, a.DeadLetters(t.Context(), "orders")) {
		letters = append(letters, letter.ID)
	}
	assert.Equal(t, []string{"1-0", "2-0"}, letters)

	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	members, err = a.Members(t.Context(), "orders", "g")
	require.NoError(t, err)
	assert.Empty(t, members)
	draining(b, client, a, topic.Length)
}

// share starts a member of the group "g" whose handlers have messages until the end.
func share(t *testing.T, client redis.UniversalClient) *redisstream.Subscriber {
	t.Helper()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: "g", Partitions: partitions, ClaimMinIdle: 3 * time.Second, CloseTimeout: 10 * time.Millisecond,
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = subscriber.Close() })
	messages, err := subscriber.Subscribe(t.Context(), "orders")
	require.NoError(t, err)
	go func() {
		for msg := range messages {
			go func() {
				<-msg.Context().Done()
				msg.Nack()
			}()
		}
	}()
	return subscriber
}

// draining checks that the partitions of both numbers count during a change, and then only the new
// ones. What the old ones still have are topics of their own then.
func draining(b *fixture.Bench, client redis.UniversalClient, a *admin.Admin, before int64) {
	b.Helper()
	t := b.T
	require.NoError(t, redisstream.SetPartitions(t.Context(), client, "orders", partitions, 3))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Partitions: 3})
	require.NoError(t, publisher.Publish("orders", fixture.Numbered("new", 7)...))
	topic, err := a.Topic(t.Context(), "orders")
	require.NoError(t, err)
	assert.Equal(t, before+7, topic.Length)
	assert.Equal(t, [2]int{3, partitions}, [2]int{topic.Partitions, topic.Draining})
	require.NoError(t, redisstream.SetPartitions(t.Context(), client, "orders", 3, 3))
	topic, err = a.Topic(t.Context(), "orders")
	require.NoError(t, err)
	assert.Equal(t, [3]int64{7, 3, 0}, [3]int64{topic.Length, int64(topic.Partitions), int64(topic.Draining)})
	old := 0
	for _, topic := range all(b, a.Topics(t.Context(), "orders*")) {
		if _, _, n, ok := redisstream.ParsePartitionTopic(topic.Name); ok && n == partitions {
			old++
		}
	}
	assert.Equal(t, partitions, old)
}

// What begins to follow a topic before it exists gets all of its partitions.
func TestFollow_partitions(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	followed := make(chan admin.Message)
	go func() {
		defer close(followed)
		for msg, err := range a.Follow(t.Context(), b.Topic, "0") {
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case followed <- msg:
			case <-t.Context().Done():
				return
			}
		}
	}()
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: partitions, PartitionKey: keyOf})
	missing := make(map[string]bool)
	for _, msg := range fixture.Numbered("m", 50) {
		missing[msg.UUID] = true
		require.NoError(t, publisher.Publish(b.Topic, msg))
	}
	for range 50 {
		delete(missing, redistest.Within(t, "a message", followed).UUID)
	}
	assert.Empty(t, missing)
}
