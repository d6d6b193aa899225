package redisstream_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusing has the server refuse writes until the returned function is called.
func (b *bench) refusing(setting, value, normal, said string) (again func()) {
	b.Helper()
	require.NoError(b, b.client.ConfigSet(b.Context(), setting, value).Err())
	err := b.client.XGroupCreate(b.Context(), b.topic, "another", "0").Err()
	require.ErrorContains(b, err, said)
	return func() {
		require.NoError(b, b.client.ConfigSet(context.WithoutCancel(b.Context()), setting, normal).Err())
	}
}

// A consumer that restarts drains the backlog of a server whose memory is full: that frees it.
func TestSubscribe_fullServerIsDrained(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t, "--maxmemory-policy", "noeviction"))
	b.publish(20)
	config := fastClaims()
	config.TrimInterval = config.ClaimInterval
	first, messages := b.subscribe(config)
	receiveAll(t, messages, 5)
	require.NoError(t, first.Close())
	defer b.refusing("maxmemory", "1", "0", "OOM")()

	subscriber := b.subscriber(config)
	require.NoError(t, subscriber.SubscribeInitialize(b.topic))
	messages, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	assert.Equal(t, upTo(20)[5:], receiveAll(t, messages, 15))
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
	b.eventually("trimmed", func() bool { return b.length() == 0 })
}

// With too few replicas even reads of a group are refused. A subscription waits for them.
func TestSubscribe_waitsForReplicas(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	b.publish(3)
	config := fastClaims()
	config.NackBackoff = nil
	require.NoError(t, b.subscriber(config).SubscribeInitialize(b.topic))
	again := b.refusing("min-replicas-to-write", "1", "0", "NOREPLICAS")
	subscriber := b.subscriber(config)
	require.NoError(t, subscriber.SubscribeInitialize(b.topic))
	messages, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	again()
	assert.Equal(t, upTo(3), receiveAll(t, messages, 3))
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
}

// A group that is not there can't be created: then the error says why.
func TestSubscribe_groupThatAFullServerCannotCreate(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t, "--maxmemory-policy", "noeviction"))
	b.publish(1)
	defer b.refusing("maxmemory", "1", "0", "OOM")()
	subscriber := b.subscriber(inGroupG())
	_, err := subscriber.Subscribe(t.Context(), b.topic)
	require.ErrorContains(t, err, "OOM")
	require.ErrorContains(t, err, b.topic)
	require.ErrorContains(t, subscriber.SubscribeInitialize(b.topic), "OOM")
}

// IDs are pairs of unsigned 64-bit numbers: where a server would refuse one, or never reach it, NewSubscriber does.
func TestNewSubscriber_startID(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	const most = "18446744073709551615"
	for id, valid := range map[string]bool{
		"$": true, "0": true, "0-0": true, "17-4": true, most: true, most + "-" + most: true,
		"18446744073709551616-0": false, "0-18446744073709551616": false, "18446744073709551616": false,
		"-": false, "1-": false, "-1": false, "1-2-3": false, "+1": false, "1-*": false, ">": false, "one": false,
	} {
		for _, group := range []string{"", "g"} {
			_, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, StartID: id, ConsumerGroup: group}, watermill.NopLogger{})
			name := fmt.Sprintf("StartID %q, group %q", id, group)
			if valid {
				assert.NoError(t, err, name)
				continue
			}
			assert.ErrorIs(t, err, redisstream.ErrInvalidConfig, name)
			assert.ErrorContains(t, err, "StartID", name)
			assert.Error(t, client.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"none", id}, Block: -1}).Err(), name)
		}
	}
}
