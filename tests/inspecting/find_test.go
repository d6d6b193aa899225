package inspecting

import (
	"slices"
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

// all collects an iteration.
func all[T any](b *fixture.Bench, seq func(func(T, error) bool)) (list []T) {
	b.Helper()
	for one, err := range seq {
		require.NoError(b, err)
		list = append(list, one)
	}
	return list
}

// A message is found wherever it is, and what each group did with it.
func TestFind(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		b := fixture.New(t)
		b.Client = b.Server.Client(t, func(o *redis.Options) { o.Protocol = protocol })
		a := newAdmin(b)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
		later := message.NewMessage("later", nil)
		delay.Message(later, delay.For(time.Hour))
		b.Do("XGROUP", "CREATE", b.Topic, "unread", "0", "MKSTREAM")
		require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("parked", nil), message.NewMessage("rejected", nil),
			message.NewMessage("held", nil), later))
		config := fixture.GroupConfig()
		config.MaxInFlight = 3
		_, messages := b.Subscribe(config)
		held := make(map[string]*message.Message)
		for range 3 {
			msg := fixture.Receive(t, messages)
			held[msg.UUID] = msg
		}
		redisstream.RetryAfter(held["parked"], time.Hour)
		require.True(t, held["parked"].Nack())
		redisstream.Reject(held["rejected"], assert.AnError)
		require.True(t, held["rejected"].Nack())

		find := func(uuid string) (places []admin.Place, last admin.Found) {
			for _, found := range all(b, a.Find(t.Context(), b.Topic, uuid, admin.Range{})) {
				assert.Equal(t, uuid, found.UUID)
				places, last = append(places, found.Place), found
			}
			return places, last
		}
		b.Eventually("settled", func() bool {
			topic, err := a.Topic(t.Context(), b.Topic)
			require.NoError(t, err)
			return topic.Parked == 1 && topic.DeadLetters == 1 && topic.Delayed == 1
		})
		places, found := find("parked")
		assert.Equal(t, []admin.Place{admin.InTopic, admin.InRetryQueue}, places)
		assert.Equal(t, []admin.Handling{{Group: "g", Status: admin.StatusParked}, {Group: "unread", Status: admin.StatusUnread}}, found.Groups)
		places, found = find("rejected")
		assert.Equal(t, []admin.Place{admin.InTopic, admin.InDeadLetters}, places)
		assert.Equal(t, admin.StatusDeadLettered, found.Groups[0].Status)
		assert.NotEmpty(t, found.Groups[0].Reason)
		places, found = find("held")
		assert.Equal(t, []admin.Place{admin.InTopic}, places)
		assert.Equal(t, admin.StatusPending, found.Groups[0].Status)
		assert.NotEmpty(t, found.Groups[0].Entry.Consumer)
		places, _ = find("later")
		assert.Equal(t, []admin.Place{admin.InDelayed}, places)
		places, _ = find("nowhere")
		assert.Empty(t, places)
		require.True(t, held["held"].Ack())
		b.Eventually("handled", func() bool {
			_, found := find("held")
			return found.Groups[0].Status == admin.StatusHandled
		})
		parked := all(b, a.Parked(t.Context(), b.Topic, "g"))
		require.Len(t, parked, 1)
		assert.Equal(t, "parked", parked[0].Message.UUID)
		assert.WithinDuration(t, time.Now().Add(time.Hour), parked[0].Due, time.Minute)
	}
}

// A dry run returns what would be done, and changes nothing.
func TestDeadLetters_dryRun(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a, err := admin.New(admin.Config{Client: b.Client, Unmarshaler: redisstream.PlainMarshaler{}})
	require.NoError(t, err)
	var ids []string
	for i := range 10 {
		ids = append(ids, b.AddDeadLetter(b.Topic, []string{"even", "odd"}[i%2]))
	}
	even := func(l admin.DeadLetter) bool { return string(l.Message.Payload) == "even" }
	evenIDs := []string{ids[0], ids[2], ids[4], ids[6], ids[8]}
	outcome, err := a.ReplayDeadLetters(t.Context(), b.Topic, even, true)
	require.NoError(t, err)
	assert.Equal(t, admin.Outcome{IDs: evenIDs, DryRun: true}, outcome)
	assert.Len(t, b.DeadLetters(), 10)
	outcome, err = a.ReplayDeadLetters(t.Context(), b.Topic, even, false)
	require.NoError(t, err)
	assert.Equal(t, admin.Outcome{IDs: evenIDs}, outcome)
	assert.Equal(t, int64(5), b.Len())
	outcome, err = a.RetryDeadLetters(t.Context(), b.Topic, func(l admin.DeadLetter) bool { return l.ID == ids[1] }, false)
	require.NoError(t, err)
	assert.Equal(t, []string{ids[1]}, outcome.IDs)
	outcome, err = a.DropDeadLetters(t.Context(), b.Topic, func(admin.DeadLetter) bool { return true }, false)
	require.NoError(t, err)
	assert.Len(t, outcome.IDs, 4)
	assert.Empty(t, b.DeadLetters())
}

func TestDelayed_dryRun(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	for _, uuid := range []string{"a", "b"} {
		msg := message.NewMessage(uuid, nil)
		delay.Message(msg, delay.For(time.Hour))
		require.NoError(t, publisher.Publish(b.Topic, msg))
	}
	isA := func(d admin.Delayed) bool { return d.Message.UUID == "a" }
	outcome, err := a.DropDelayed(t.Context(), b.Topic, isA, true)
	require.NoError(t, err)
	require.Len(t, outcome.IDs, 1)
	assert.Len(t, all(b, a.Delayed(t.Context(), b.Topic)), 2)
	done, err := a.DeliverDelayed(t.Context(), b.Topic, isA, false)
	require.NoError(t, err)
	assert.Equal(t, outcome.IDs, done.IDs)
	assert.Equal(t, int64(1), b.Len())
	_, err = a.DropDelayed(t.Context(), b.Topic, func(admin.Delayed) bool { return true }, false)
	require.NoError(t, err)
	assert.Empty(t, all(b, a.Delayed(t.Context(), b.Topic)))
}

// The retry queue is read in pages, each entry once, also where many are due at the same time.
func TestParked_pages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	queue := redisstream.RetryQueueKey(b.Topic, "g")
	require.NoError(t, b.Client.Eval(t.Context(), `for i = 1, 950 do
		redis.call('ZADD', KEYS[1], 1000 + math.floor(i / 300), i .. '-0')
		redis.call('HSET', KEYS[1] .. ':entries', i .. '-0', '4:data1:x', i .. '-0:deliveries', i)
	end
	return 1`, []string{queue}).Err())
	seen := make(map[string]int64)
	for _, parked := range all(b, a.Parked(t.Context(), b.Topic, "g")) {
		seen[parked.Message.ID] = parked.Deliveries
		assert.Equal(t, "x", parked.Message.Fields["data"])
	}
	assert.Len(t, seen, 950)
	assert.Equal(t, int64(7), seen["7-0"])
}

// In a cluster the topics of all masters come, each once, also if the client reads from replicas.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartFullCluster(t)
	client := cluster.Client(t, func(o *redis.ClusterOptions) { o.ReadOnly, o.RouteRandomly = true, true })
	a, err := admin.New(admin.Config{Client: client})
	require.NoError(t, err)
	var names []string
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	for _, name := range []string{"a", "b", "c", "d", "{e}:f", "no}tag"} {
		require.NoError(t, publisher.Publish(name, message.NewMessage("uuid", nil)))
		require.NoError(t, client.XGroupCreate(t.Context(), name, "g", "0").Err())
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{
			Stream: redisstream.DeadLetterTopic(name), Values: []any{"_watermill_message_uuid", "uuid"},
		}).Err())
		names = append(names, name)
	}
	var got []string
	for topic, err := range a.Topics(t.Context(), "") {
		require.NoError(t, err)
		got = append(got, topic.Name)
		if topic.Name != "no}tag" { // its dead letters are in another slot
			assert.Equal(t, int64(1), topic.DeadLetters, topic.Name)
		}
		groups, err := a.Groups(t.Context(), topic.Name)
		require.NoError(t, err)
		assert.Equal(t, admin.Lag{N: 1, Exact: admin.LagExact}, groups[0].Lag)
	}
	slices.Sort(got)
	slices.Sort(names)
	assert.Equal(t, names, got)
	for found, err := range a.Find(t.Context(), "a", "uuid", admin.Range{}) {
		require.NoError(t, err)
		assert.Equal(t, "uuid", found.UUID)
	}
	snapshot, err := a.Snapshot(t.Context(), 0)
	require.NoError(t, err)
	assert.Len(t, snapshot.Topics, len(names))
}
