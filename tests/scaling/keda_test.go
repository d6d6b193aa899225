// Package scaling tests what an autoscaler reads of a group.
package scaling

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lag is what KEDA's redis-streams scaler does with lagCount: INFO for the version, XINFO GROUPS,
// and XLEN if the group is not there. -1 is an unknown lag: go-redis returns it, and KEDA passes it
// on.
func lag(b *fixture.Bench, client redis.Cmdable) int64 {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	info, err := client.Info(ctx).Result()
	require.NoError(b, err)
	require.Contains(b, info, "redis_version:")
	groups, err := client.XInfoGroups(ctx, b.Topic).Result()
	if err != nil && strings.HasPrefix(err.Error(), "ERR no such key") {
		return 0
	}
	require.NoError(b, err)
	for _, group := range groups {
		if group.Name == "g" {
			return group.Lag
		}
	}
	length, err := client.XLen(ctx, b.Topic).Result()
	require.NoError(b, err)
	return length
}

// pending is what the scaler does with pendingEntriesCount.
func pending(b *fixture.Bench, client redis.Cmdable) int64 {
	b.Helper()
	summary, err := client.XPending(context.WithoutCancel(b.Context()), b.Topic, "g").Result()
	require.NoError(b, err)
	return summary.Count
}

// A stream that is not there has no lag. One whose group is not there has all of it.
func TestKEDA_beforeTheGroup(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	assert.Zero(t, lag(b, b.Client))
	b.Publish(100)
	assert.EqualValues(t, 100, lag(b, b.Client))
	assert.Error(t, b.Client.XPending(t.Context(), b.Topic, "g").Err(), "pendingEntriesCount has no number without a group")
}

// A group without consumers shows its whole backlog as lag, and nothing as pending.
func TestKEDA_backlogWithoutConsumers(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	require.NoError(t, b.Subscriber(fixture.GroupConfig()).SubscribeInitialize(b.Topic))
	b.Publish(100)
	assert.EqualValues(t, 100, lag(b, b.Client))
	assert.Zero(t, pending(b, b.Client))
}

// What is not handled is pending or lags. Lag alone leaves out what a subscription has read ahead:
// it may be 0 while the handler hangs.
func TestKEDA_readAheadIsPending(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(2000)
	_, messages := b.Subscribe(fixture.GroupConfig())
	fixture.ReceiveAll(t, messages, 1000)
	hung := fixture.Receive(t, messages)
	b.Eventually("acknowledged", func() bool { return pending(b, b.Client)+lag(b, b.Client) == 1000 })
	assert.Greater(t, pending(b, b.Client), int64(1), "more than what the handler has")

	hung.Ack()
	fixture.ReceiveAll(t, messages, 999)
	b.Eventually("acknowledged", func() bool { return pending(b, b.Client)+lag(b, b.Client) == 0 })
	b.Publish(1)
	fixture.Receive(t, messages)
	b.Eventually("read", func() bool { return lag(b, b.Client) == 0 && pending(b, b.Client) == 1 })
}

// Messages that wait in the retry queue are in neither number.
func TestKEDA_retryQueueIsInNeither(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	_, messages := b.Subscribe(fixture.GroupConfig())
	msg := fixture.Receive(t, messages)
	redisstream.RetryOutOfOrder(msg, time.Hour)
	msg.Nack()
	b.Eventually("in the retry queue", func() bool {
		return b.Client.ZCard(t.Context(), redisstream.RetryQueueKey(b.Topic, "g")).Val() == 1
	})
	assert.Zero(t, pending(b, b.Client))
	assert.Zero(t, lag(b, b.Client))
}

// After XDEL of an entry that the group has not read, the server does not know the lag. It knows it
// again when the group has read all.
func TestKEDA_lagIsUnknownAfterXDEL(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(100)
	ids := b.ReadAs("consumer", 10)
	unread, err := b.Client.XRangeN(t.Context(), b.Topic, "("+ids[9].ID, "+", 2).Result()
	require.NoError(t, err)
	assert.EqualValues(t, 90, lag(b, b.Client))
	require.NoError(t, b.Client.XDel(t.Context(), b.Topic, unread[1].ID).Err())
	assert.EqualValues(t, -1, lag(b, b.Client))
	b.ReadAs("consumer", 100)
	assert.Zero(t, lag(b, b.Client))
	assert.EqualValues(t, 99, pending(b, b.Client))
}

// Trimming what all groups have acknowledged leaves the lag exact.
func TestKEDA_trimmingKeepsTheLag(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(500)
	config := fixture.GroupConfig()
	config.TrimInterval = 20 * time.Millisecond
	subscriber, messages := b.Subscribe(config)
	fixture.ReceiveAll(t, messages, 500)
	b.Eventually("trimmed", func() bool { return b.Len() == 0 })
	require.NoError(t, subscriber.Close())
	b.Publish(70)
	assert.EqualValues(t, 70, lag(b, b.Client))
}

// A user with these rights can do all that the scaler does.
func TestKEDA_rights(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(3)
	b.ReadAs("consumer", 1)
	user := "keda-" + b.Topic
	b.Do("ACL", "SETUSER", user, "reset", "on", ">secret", "%R~"+b.Topic, "+ping", "+info", "+xinfo|groups", "+xlen", "+xpending")
	scaler := fixture.ConnectURL(b, "redis://"+user+":secret@"+b.Server.Addr)
	require.NoError(t, scaler.Ping(t.Context()).Err())
	assert.EqualValues(t, 2, lag(b, scaler))
	assert.EqualValues(t, 1, pending(b, scaler))
	assert.EqualValues(t, 3, scaler.XLen(t.Context(), b.Topic).Val())
}

// A group that begins in the middle of a stream has an unknown lag until it has read all.
func TestKEDA_groupFromTheMiddle(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(100)
	entries, err := b.Client.XRangeN(t.Context(), b.Topic, "-", "+", 50).Result()
	require.NoError(t, err)
	config := fixture.GroupConfig()
	config.StartID = entries[49].ID
	require.NoError(t, b.Subscriber(config).SubscribeInitialize(b.Topic))
	assert.EqualValues(t, -1, lag(b, b.Client))
	b.ReadAs("consumer", 100)
	assert.Zero(t, lag(b, b.Client))
	b.Publish(5)
	assert.EqualValues(t, 5, lag(b, b.Client))
}
