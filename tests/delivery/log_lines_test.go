package delivery

import (
	"fmt"
	"regexp"
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

func TestLog_subscriptionStartsAndEnds(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.GroupConfig()
	config.Client, config.Consumer = b.Client, "worker"
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	_, err = subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	require.NoError(t, subscriber.Close())
	require.Len(t, log.Lines(), 2)
	for i, text := range []string{"subscription started", "subscription ended"} {
		line := log.Lines()[i]
		for _, part := range []string{"level=INFO", text, "topic=" + b.Topic, "consumer_group=g", "consumer=worker"} {
			assert.Contains(t, line, part)
		}
	}
}

func TestLog_takenOver(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(300)
	b.SetIdle("dead", b.ReadAs("dead", 250), time.Second) // for all of them, when the first scan begins
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	fixture.ReceiveAll(t, messages, 300)
	b.Eventually("the log line", func() bool { return log.Count("from_consumer=dead") > 0 })
	fixture.NothingComes(t, messages, 2*config.ClaimInterval)
	lines := 0
	for _, line := range log.Lines() {
		if regexp.MustCompile(`level=INFO .*entries were taken over .*count=250 .*from_consumer=dead .*idle_for=\d+`).MatchString(line) {
			lines++
		}
	}
	assert.Equal(t, 1, lines, log.Lines())
	assert.Zero(t, log.Count("level=ERROR"))
}

// Entries that a consumer released at Close are not logged as taken over.
func TestLog_releasedIsNotTakenOver(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client, config.CloseTimeout = b.Client, -1
	subscriber, messages := b.Subscribe(config)
	b.Publish(3)
	fixture.Receive(t, messages)
	require.NoError(t, subscriber.Close())
	fixture.ReceiveAll(t, b.SubscribeLogged(config, &log), 3)
	assert.Zero(t, log.Count("taken over"))
}

func TestLog_consumersRemoved(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	var log redistest.Log
	require.NoError(t, b.Client.XGroupCreate(t.Context(), b.Topic, "g", "$").Err())
	require.NoError(t, b.Client.XGroupCreateConsumer(t.Context(), b.Topic, "g", "host~ABCDEFGHIJ").Err())
	config := fixture.FastClaimConfig()
	config.Client, config.BlockTime, config.ConsumerTimeout = b.Client, 50*time.Millisecond, 300*time.Millisecond
	b.SubscribeLogged(config, &log)
	b.Eventually("removed", func() bool { return log.Count("consumers=[host~ABCDEFGHIJ]") == 1 })
	assert.Equal(t, 1, log.Count("level=INFO  msg=\"consumers whose process is gone"))
}

// The recreation of a group is logged once, by one of its members.
func TestLog_groupCreatedAgain(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	one, two := b.SubscribeLogged(config, &log), b.SubscribeLogged(config, &log)
	b.Publish(20)
	fixture.ReceiveAll(t, one, 1)
	fixture.ReceiveAll(t, two, 1)
	b.AwaitTwoScans()
	require.NoError(t, b.Client.XGroupDestroy(t.Context(), b.Topic, "g").Err())
	const text = "the consumer group had vanished and was created again"
	b.Eventually("recreated", func() bool { return log.Count(text) == 1 })
	b.AwaitTwoScans()
	assert.Equal(t, 1, log.Count(text))
	assert.Equal(t, 1, log.Count("id="))
}

// When the dead-letter stream has the wrong type, one line is logged, not one for each entry, and
// one more when it works again.
func TestLog_deadLettersOfTheWrongType(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	for i := range 300 {
		require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", fmt.Sprint(i)}}).Err())
	}
	require.NoError(t, b.Client.Set(t.Context(), redisstream.DeadLetterTopic(b.Topic), "no stream", 0).Err())
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	b.Eventually("all are tried", func() bool { return b.Pending() == 300 })
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)
	fixture.NothingComes(t, messages, time.Second+200*time.Millisecond)
	assert.Equal(t, 1, log.Count("level=ERROR"), log.Count("level=ERROR"))
	assert.Equal(t, 1, log.Count("WRONGTYPE"))
	require.NoError(t, b.Client.Del(t.Context(), redisstream.DeadLetterTopic(b.Topic)).Err())
	b.Eventually("moved", func() bool { return b.Pending() == 0 && len(b.DeadLetters()) == 300 })
	assert.Equal(t, 1, log.Count("dead-lettering works again"))
}

// Entries that are dead-lettered while leases are renewed are not logged as lost.
func TestLog_deadLetteredIsNotLost(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	proxy := redistest.NewProxy(t, b.Server.Addr, 3*time.Millisecond)
	config := fixture.FastClaimConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	config.ClaimMinIdle, config.MaxInFlight = 100*time.Millisecond, 16
	pipe := b.Client.Pipeline()
	for i := range 1000 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", fmt.Sprint(i)}})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	b.SubscribeLogged(config, &log)
	require.Eventually(t, func() bool {
		return b.Client.XLen(t.Context(), redisstream.DeadLetterTopic(b.Topic)).Val() >= 1000
	}, 3*fixture.Soon, 20*time.Millisecond)
	b.Eventually("all are logged", func() bool { return log.Count("entry dead-lettered") == 1000 })
	assert.Zero(t, log.Count("lost while they were held"), log.Count("lost while they were held"))
	assert.Equal(t, 1000, log.Count("level=ERROR"))
}

// When many held entries are trimmed, one line with their count is logged.
func TestLog_trimmedWhileHeld(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client, config.MaxInFlight = b.Client, 50
	messages := b.SubscribeLogged(config, &log)
	b.Publish(50)
	for range 50 {
		fixture.Receive(t, messages)
	}
	require.NoError(t, b.Client.XTrimMaxLen(t.Context(), b.Topic, 0).Err())
	b.Eventually("logged", func() bool { return log.Count("trimmed") > 0 })
	fixture.NothingComes(t, messages, 2*config.ClaimMinIdle)
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
	assert.LessOrEqual(t, lines, 5, "one for each round of renewals, because the entries came in several reads")
}

// A subscription follows a slot that moves. Nothing is logged as an error.
func TestLog_slotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t)
	b := &fixture.Bench{T: t, Topic: fixture.NewTopic(t)}
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = client
	messages := b.SubscribeLogged(config, &log)
	for range 20 {
		b.PublishThrough(client, 3)
		fixture.ReceiveAll(t, messages, 3)
		cluster.MoveSlot(t, b.Topic, cluster.Other(t, b.Topic))
	}
	b.PublishThrough(client, 3)
	fixture.ReceiveAll(t, messages, 3)
	assert.Zero(t, log.Count("level=ERROR"), log.Lines())
	assert.Zero(t, log.Count("created again"), log.Lines())
}
