package pausing

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// record is what the tests look at of a member record: a time, a space and JSON.
type record struct {
	Host     string        `json:"host"`
	PID      int           `json:"pid"`
	Every    time.Duration `json:"every"`
	Lease    time.Duration `json:"lease"`
	Workers  int           `json:"workers"`
	Limit    int           `json:"limit"`
	AutoAck  bool          `json:"auto_ack"` //nolint:tagliatelle // the format is given
	Paused   bool          `json:"paused"`
	Held     []heldEntry   `json:"held"`
	Blocking bool          `json:"blocking"`
	Reported time.Time     `json:"-"`
}

type heldEntry struct {
	ID string `json:"id"`
}

// records returns the member records of the group "g" by consumer.
func records(b *fixture.Bench, client redis.Cmdable) map[string]record {
	b.Helper()
	values, err := client.HGetAll(context.WithoutCancel(b.Context()), redisstream.MembersKey(b.Topic, "g")).Result()
	require.NoError(b, err)
	list := make(map[string]record, len(values))
	for name, value := range values {
		reported, text, _ := strings.Cut(value, " ")
		ms, err := strconv.ParseInt(reported, 10, 64)
		require.NoError(b, err)
		r := record{Reported: time.UnixMilli(ms)}
		require.NoError(b, json.Unmarshal([]byte(text), &r))
		list[name] = r
	}
	return list
}

func TestMemberRecord_ofEachMember(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.Consumer, config.MaxDeliveries, config.ClaimMinIdle = "me", 4, 3*time.Second
	fixed, messages := b.Subscribe(config)
	autoAck := fixture.GroupConfig()
	autoAck.AutoAck, autoAck.MaxInFlight = true, 16
	other, _ := b.Subscribe(autoAck)
	b.Eventually("two records", func() bool { return len(records(b, b.Client)) == 2 })
	for name, record := range records(b, b.Client) {
		assert.Equal(t, os.Getpid(), record.PID)
		assert.NotEmpty(t, record.Host)
		assert.WithinDuration(t, time.Now(), record.Reported, fixture.Soon)
		if name == "me" {
			assert.Equal(t, 3*time.Second, record.Lease)
			assert.Equal(t, 3*time.Second, record.Every, "it has nothing to do")
			assert.Equal(t, 4, record.Limit)
			assert.Equal(t, 1, record.Workers)
			continue
		}
		assert.True(t, record.AutoAck)
		assert.Equal(t, 30*time.Second, record.Every)
		assert.Equal(t, 16, record.Workers)
	}
	require.NoError(t, other.Close())

	b.Publish(1)
	msg := fixture.Receive(t, messages)
	b.Eventually("the record has it", func() bool { return len(records(b, b.Client)["me"].Held) == 1 })
	record := records(b, b.Client)["me"]
	assert.Equal(t, fixture.EntryOf(t, msg).ID, record.Held[0].ID)
	assert.True(t, record.Blocking)
	require.NoError(t, fixed.Close())
	assert.Equal(t, []string{"me"}, b.Consumers(), "its entry keeps it in the group")
	assert.Empty(t, records(b, b.Client), "nobody looks alive")
}

// Without a hash tag a key with a "}" is in another slot than its topic.
func TestMemberRecord_cluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	b := fixture.NewOn(t, cluster)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cluster.Addr}})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	for topic, reports := range map[string]bool{b.Topic: true, "{a}" + b.Topic: true, "a}" + b.Topic: false} {
		b.Topic = topic
		config := fixture.GroupConfig()
		config.Client = client
		subscriber, messages := b.Subscribe(config)
		if reports {
			b.Eventually("a record", func() bool { return len(records(b, client)) == 1 })
		}
		b.PublishThrough(client, 1)
		require.True(t, fixture.Receive(t, messages).Ack())
		require.NoError(t, subscriber.Close())
		assert.Empty(t, records(b, client))
	}
}
