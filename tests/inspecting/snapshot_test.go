package inspecting

import (
	"strconv"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A snapshot of many topics has what Topic and Groups return of each, also where groups and
// consumers take several pages.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	a := newAdmin(b)
	require.NoError(t, b.Client.Eval(t.Context(), `for t = 1, 130 do
		local topic = 'topic' .. t
		for i = 1, 5 do
			redis.call('XADD', topic, i, 'a', 'b')
		end
		redis.call('XDEL', topic, 4)
		for g = 1, (t % 40 == 0 and 120 or t % 3) do
			redis.call('XGROUP', 'CREATE', topic, 'g' .. g, '0')
			redis.call('XREADGROUP', 'GROUP', 'g' .. g, 'c', 'COUNT', t % 4, 'STREAMS', topic, '>')
		end -- of its groups
	end
	redis.call('XGROUP', 'CREATE', 'topic7', 'many', '0')
	for c = 1, 600 do
		redis.call('XGROUP', 'CREATECONSUMER', 'topic7', 'many', c)
	end
	redis.call('ZADD', KEYS[1], 1, 'x')
	return 1`, []string{redisstream.RetryQueueKey("topic7", "g1")}).Err())
	snapshot, err := a.Snapshot(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, snapshot.Topics, 130)
	assert.WithinDuration(t, time.Now(), snapshot.Time, fixture.Soon)
	for _, got := range snapshot.Topics {
		topic, err := a.Topic(t.Context(), got.Topic.Name)
		require.NoError(t, err)
		assert.Equal(t, topic, got.Topic)
		groups, err := a.Groups(t.Context(), got.Topic.Name)
		require.NoError(t, err)
		require.Len(t, got.Groups, len(groups))
		for i, want := range groups {
			want.OldestAge = got.Groups[i].OldestAge // it grows
			assert.Equal(t, want, got.Groups[i])
			assert.Equal(t, admin.LagExact, want.Lag.Exact)
		}
	}
	groups, err := a.Groups(t.Context(), "topic7")
	require.NoError(t, err)
	assert.Equal(t, 600, groups[1].Consumers)

	some, err := a.Snapshot(t.Context(), 105)
	require.NoError(t, err)
	assert.Len(t, some.Topics, 105)
	b.Do("SET", "nothing", "of a stream")
	named, err := a.Snapshot(t.Context(), 1, "topic2", "none", "nothing", "topic1")
	require.NoError(t, err)
	require.Len(t, named.Topics, 2)
	assert.Equal(t, "topic2", named.Topics[0].Topic.Name)
}

// A snapshot of 1,000 topics takes few round trips, which is what a slow link costs.
func TestSnapshot_overASlowLink(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	const topics = 1000
	names := make([]string, topics)
	pipe := b.Client.Pipeline()
	for i := range names {
		names[i] = "topic-" + strconv.Itoa(i)
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: names[i], Values: []string{"a", "b"}})
		pipe.XGroupCreate(t.Context(), names[i], "g", "0")
		pipe.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{names[i], ">"}})
		pipe.HSet(t.Context(), redisstream.MembersKey(names[i], "g"), "c", `1000 {"every":1000000000}`)
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	const roundTrip = 20 * time.Millisecond
	proxy := redistest.NewProxy(t, b.Server.Addr, roundTrip/2)
	a, err := admin.New(admin.Config{Client: b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })})
	require.NoError(t, err)
	for _, names := range [][]string{nil, names} {
		began := time.Now()
		snapshot, err := a.Snapshot(t.Context(), 0, names...)
		require.NoError(t, err)
		require.Len(t, snapshot.Topics, topics)
		for _, topic := range snapshot.Topics {
			require.EqualValues(t, 1, topic.Groups[0].Pending)
			require.EqualValues(t, 1, topic.Groups[0].MaxDeliveries)
		}
		took := time.Since(began)
		t.Log(took)
		assert.Less(t, took, topics*roundTrip/4, "one round trip for each topic would take four times as long")
	}
}
