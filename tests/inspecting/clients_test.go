package inspecting

import (
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inspectAll uses each kind of command of package admin on some topics.
func inspectAll(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	a, err := admin.New(admin.Config{Client: client})
	require.NoError(t, err)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		require.NoError(t, publisher.Publish(name, message.NewMessage("uuid", nil), message.NewMessage("other", nil)))
		require.NoError(t, client.XGroupCreate(t.Context(), name, "g", "0").Err())
		read, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{name, ">"}, Count: 1}).Result()
		require.NoError(t, err)
		id := read[0].Messages[0].ID

		found := 0
		for one, err := range a.Find(t.Context(), name, "uuid", admin.Range{}) {
			require.NoError(t, err)
			assert.Equal(t, admin.StatusPending, one.Groups[0].Status)
			found++
		}
		assert.Equal(t, 1, found)
		require.NoError(t, a.Pause(t.Context(), name, "g", "ann", ""))
		groups, err := a.Groups(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, admin.GroupPaused, groups[0].State)
		assert.Equal(t, admin.Lag{N: 1, Exact: admin.LagExact}, groups[0].Lag)
		require.NoError(t, a.Resume(t.Context(), name, "g"))
		_, err = a.Skip(t.Context(), name, "g", []string{id}, admin.Skip{DeadLetter: true})
		require.NoError(t, err)
		dropped, err := a.DropDeadLetters(t.Context(), name, func(l admin.DeadLetter) bool { return l.EntryID == id }, false)
		require.NoError(t, err)
		assert.Len(t, dropped.IDs, 1)
	}
	snapshot, err := a.Snapshot(t.Context(), 0, names...)
	require.NoError(t, err)
	require.Len(t, snapshot.Topics, len(names))
	for _, topic := range snapshot.Topics {
		assert.Len(t, topic.Groups, 1)
	}
	var got []string
	for topic, err := range a.Topics(t.Context(), "?") {
		require.NoError(t, err)
		got = append(got, topic.Name)
	}
	slices.Sort(got)
	assert.Equal(t, names, got)
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	inspectAll(t, fixture.ConnectTo(t, redistest.StartSentinelSet(t).URL()))
}

// The topics of a ring are on several servers.
func TestRing(t *testing.T) {
	t.Parallel()
	one, other := redistest.Start(t), redistest.Start(t)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": one.Addr, "other": other.Addr}})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	inspectAll(t, ring)
	for _, server := range []*redistest.Server{one, other} {
		assert.Positive(t, server.Client(t).DBSize(t.Context()).Val())
	}
}
