package publishing

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const maxAge = 5 * time.Minute

// old adds n entries of this age, by the server's clock.
func old(t *testing.T, client *redis.Client, topic string, n int, age time.Duration) {
	t.Helper()
	now, err := client.Time(t.Context()).Result()
	require.NoError(t, err)
	for i := range n {
		id := fmt.Sprint(now.Add(-age).UnixMilli(), "-", i+1)
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, ID: id, Values: []string{"a", "b"}}).Err())
	}
}

// The age of an entry is measured by the server's clock, whatever ours is.
func TestPublish_MaxAgeGoesByTheServersClock(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{0, -10 * time.Minute, 10 * time.Minute, -24 * time.Hour} {
		t.Run(offset.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.StartWithClock(t, offset)
			client := server.Client(t)
			topic := fixture.NewTopic(t)
			old(t, client, topic, 400, maxAge+time.Minute)
			old(t, client, topic, 400, maxAge-time.Minute)
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, MaxAge: maxAge})
			require.NoError(t, publisher.Publish(topic, fixture.Numbered("first", 1)...))
			assert.EqualValues(t, 801, client.XLen(t.Context(), topic).Val(), "the first ID shows the server's time")
			for i := range 499 {
				require.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint(i), 1)...))
			}
			length := client.XLen(t.Context(), topic).Val()
			assert.GreaterOrEqual(t, length, int64(900), "younger entries are kept")
			assert.Less(t, length, int64(1000), "older entries are trimmed, except part of a node of the stream")
		})
	}
}

// When the server's clock is set back, the times of new IDs stand still. Nothing is trimmed because
// of that.
func TestPublish_MaxAgeWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t, 0)
	client := server.Client(t)
	topic := fixture.NewTopic(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, MaxAge: maxAge})
	publish := func(prefix string) {
		for i := range 150 {
			require.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint(prefix, i), 1)...))
		}
	}
	publish("before")
	require.NoError(t, server.SetClock(-time.Hour))
	publish("behind")
	assert.Len(t, fixture.StoredUUIDs(t, client, topic), 300)

	require.NoError(t, client.Del(t.Context(), topic).Err()) // the stream starts again with IDs of an hour ago
	publish("again")
	assert.Len(t, fixture.StoredUUIDs(t, client, topic), 150, "the first message does not trim itself")

	require.NoError(t, server.SetClock(0))
	publish("later")
	assert.Less(t, len(fixture.StoredUUIDs(t, client, topic)), 300, "entries of an hour ago are trimmed again")
}

// Another client added an entry with an ID far ahead of the server's clock. New IDs follow it, so
// they do not show the time.
func TestPublish_MaxAgeOfAStreamThatIsAhead(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	old(t, client, topic, 200, time.Minute)
	old(t, client, topic, 1, -time.Hour)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, MaxAge: maxAge})
	for i := range 200 {
		require.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint(i), 2)...))
	}
	assert.EqualValues(t, 200+1+400, client.XLen(t.Context(), topic).Val())
}

func TestPublish_MaxAgeOfAThousandTopics(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	prefix := fixture.NewTopic(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, MaxAge: maxAge})
	old(t, client, prefix+"0", 300, time.Hour)
	for range 2 {
		for i := range 1000 {
			require.NoError(t, publisher.Publish(fmt.Sprint(prefix, i), fixture.Numbered("m", 1)...))
		}
	}
	assert.Less(t, client.XLen(t.Context(), prefix+"0").Val(), int64(150), "its time is still known after many other topics")
}

func TestPublish_MaxAgeOfManyYears(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	const year = 365 * 24 * time.Hour
	for _, age := range []time.Duration{10 * year, 55 * year, 60 * year, 100 * year, 290 * year} {
		topic := fixture.NewTopic(t)
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, MaxAge: age})
		for i := range 3 {
			require.NoError(t, publisher.Publish(topic, fixture.Numbered(fmt.Sprint(i), 2)...))
		}
		assert.Len(t, fixture.StoredUUIDs(t, client, topic), 6)
	}
}

func TestPublish_MaxAgeDropsWhatIsOld(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for i := range 500 {
		b.Do("XADD", b.Topic, fmt.Sprint(time.Now().Add(-time.Hour).UnixMilli(), "-", i), "data", "")
	}
	for i := range 50 {
		b.Do("XADD", b.Topic, fmt.Sprint(time.Now().Add(-time.Minute).UnixMilli(), "-", i), "data", "")
	}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, MaxAge: 30 * time.Minute})
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("new", 2)...))
	assert.GreaterOrEqual(t, b.Len(), int64(52), "younger entries are kept")
	assert.LessOrEqual(t, b.Len(), int64(152), "and part of a node of the stream")
}
