package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLog_subscriptionStartsAndEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	config := inGroupG()
	config.Client, config.Consumer = b.client, "worker"
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	_, err = subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	require.NoError(t, subscriber.Close())
	require.Len(t, log.Lines(), 2)
	for i, text := range []string{"subscription started", "subscription ended"} {
		line := log.Lines()[i]
		for _, part := range []string{"level=INFO", text, "topic=" + b.topic, "consumer_group=g", "consumer=worker"} {
			assert.Contains(t, line, part)
		}
	}
}

func TestLog_takenOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(300)
	b.handOut("dead", 250)
	var log redistest.Log
	config := fastClaims()
	config.Client = b.client
	messages := b.subscribeLogged(config, &log)
	receiveAll(t, messages, 300)
	b.eventually("one line", func() bool { return log.Count("from_consumer=dead") > 0 })
	nothingComes(t, messages, 2*config.ClaimInterval)
	lines := 0
	for _, line := range log.Lines() {
		if regexp.MustCompile(`level=INFO .*entries were taken over .*count=250 .*from_consumer=dead .*idle_for=\d+`).MatchString(line) {
			lines++
		}
	}
	assert.Equal(t, 1, lines, log.Lines())
	assert.Zero(t, log.Count("level=ERROR"))
}

// What a consumer releases at its Close is not silent: no line tells of it.
func TestLog_releasedIsNotTakenOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	config := fastClaims()
	config.Client, config.CloseTimeout = b.client, -1
	subscriber, messages := b.subscribe(config)
	b.publish(3)
	receive(t, messages)
	require.NoError(t, subscriber.Close())
	receiveAll(t, b.subscribeLogged(config, &log), 3)
	assert.Zero(t, log.Count("taken over"))
}

func TestLog_consumersRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(1)
	var log redistest.Log
	require.NoError(t, b.client.XGroupCreate(t.Context(), b.topic, "g", "$").Err())
	require.NoError(t, b.client.XGroupCreateConsumer(t.Context(), b.topic, "g", "host~ABCDEFGHIJ").Err())
	config := fastClaims()
	config.Client, config.BlockTime, config.ConsumerTimeout = b.client, 50*time.Millisecond, 300*time.Millisecond
	b.subscribeLogged(config, &log)
	b.eventually("removed", func() bool { return log.Count("consumers=[host~ABCDEFGHIJ]") == 1 })
	assert.Equal(t, 1, log.Count("level=INFO  msg=\"consumers whose process is gone"))
}

// A group that is created again is one line, whoever of its members does it.
func TestLog_groupCreatedAgain(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, redistest.Start(t))
	var log redistest.Log
	config := fastClaims()
	config.Client = b.client
	one, two := b.subscribeLogged(config, &log), b.subscribeLogged(config, &log)
	b.publish(20)
	receiveAll(t, one, 1)
	receiveAll(t, two, 1)
	b.twoTurns()
	require.NoError(t, b.client.XGroupDestroy(t.Context(), b.topic, "g").Err())
	const text = "the consumer group had vanished and was created again"
	b.eventually("created again", func() bool { return log.Count(text) == 1 })
	b.twoTurns()
	assert.Equal(t, 1, log.Count(text))
	assert.Equal(t, 1, log.Count("id="))
}

// A dead-letter stream of the wrong type is one line, not one for each entry, and one when it works again.
func TestLog_deadLettersOfTheWrongType(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	for i := range 300 {
		require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", fmt.Sprint(i)}}).Err())
	}
	require.NoError(t, b.client.Set(t.Context(), redisstream.DeadLetterTopic(b.topic), "no stream", 0).Err())
	config := fastClaims()
	config.Client = b.client
	messages := b.subscribeLogged(config, &log)
	b.eventually("all are tried", func() bool { return b.pending() == 300 })
	b.publish(1)
	receiveAll(t, messages, 1)
	nothingComes(t, messages, time.Second+200*time.Millisecond)
	assert.Equal(t, 1, log.Count("level=ERROR"), log.Count("level=ERROR"))
	assert.Equal(t, 1, log.Count("WRONGTYPE"))
	require.NoError(t, b.client.Del(t.Context(), redisstream.DeadLetterTopic(b.topic)).Err())
	b.eventually("moved", func() bool { return b.pending() == 0 && len(b.letters()) == 300 })
	assert.Equal(t, 1, log.Count("dead-lettering works again"))
}

// Entries that we dead-letter ourselves while leases are renewed are not lost.
func TestLog_deadLetteredIsNotLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	proxy := redistest.NewProxy(t, b.server.Addr, 3*time.Millisecond)
	config := fastClaims()
	config.Client = b.server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	config.ClaimMinIdle, config.MaxInFlight = 100*time.Millisecond, 16
	pipe := b.client.Pipeline()
	for i := range 1000 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", fmt.Sprint(i)}})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	b.subscribeLogged(config, &log)
	require.Eventually(t, func() bool {
		return b.client.XLen(t.Context(), redisstream.DeadLetterTopic(b.topic)).Val() >= 1000
	}, 3*soon, 20*time.Millisecond)
	b.eventually("all are logged", func() bool { return log.Count("entry dead-lettered") == 1000 })
	assert.Zero(t, log.Count("lost while they were held"), log.Count("lost while they were held"))
	assert.Equal(t, 1000, log.Count("level=ERROR"))
}

// Many entries that are trimmed while they are held are one line with their count.
func TestLog_trimmedWhileHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log redistest.Log
	config := fastClaims()
	config.Client, config.MaxInFlight = b.client, 50
	messages := b.subscribeLogged(config, &log)
	b.publish(50)
	for range 50 {
		receive(t, messages)
	}
	require.NoError(t, b.client.XTrimMaxLen(t.Context(), b.topic, 0).Err())
	b.eventually("logged", func() bool { return log.Count("trimmed") > 0 })
	nothingComes(t, messages, 2*config.ClaimMinIdle)
	total, lines := 0, 0
	for _, line := range log.Lines() {
		var count int
		if _, fields, found := strings.Cut(line, " count="); found && strings.Contains(line, "trimmed") {
			_, err := fmt.Sscan(fields, &count)
			require.NoError(t, err)
			total, lines = total+count, lines+1
		}
	}
	assert.Equal(t, 50, total, log.Lines())
	assert.LessOrEqual(t, lines, 5, "one for each round of renewals: not all entries were read at once")
}

// A slot that moves is no error: the stream is followed.
func TestLog_slotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t)
	b := &bench{T: t, topic: ownTopic(t)}
	var log redistest.Log
	config := fastClaims()
	config.Client = client
	messages := b.subscribeLogged(config, &log)
	for range 20 {
		b.publishThrough(client, 3)
		receiveAll(t, messages, 3)
		cluster.MoveSlot(t, b.topic, cluster.Other(t, b.topic))
	}
	b.publishThrough(client, 3)
	receiveAll(t, messages, 3)
	assert.Zero(t, log.Count("level=ERROR"), log.Lines())
	assert.Zero(t, log.Count("created again"), log.Lines())
}

func TestRedisLogger(t *testing.T) {
	t.Parallel()
	var log redistest.Log
	logger := redisstream.RedisLogger(log.Logger())
	logger.Printf(context.Background(), "pool: connection to %s failed: %v", "127.0.0.1:1", errors.New("refused"))
	logger.Printf(context.Background(), "%v", errors.New("ERR unknown command 'AUTH', with args beginning with: 'secret'"))
	redisstream.RedisLogger(nil).Printf(context.Background(), "nothing")
	require.Len(t, log.Lines(), 2)
	assert.Contains(t, log.Lines()[0], "pool: connection to 127.0.0.1:1 failed: refused")
	assert.Zero(t, log.Count("secret"))
	assert.Equal(t, 2, log.Count("level=INFO"))
}
