package repairing

import (
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

// A strict subscription whose handler nacks one message for ever goes on when that is skipped.
func TestSkip_unblocksAStrictSubscription(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]admin.Skip{"drop": {}, "keep": {DeadLetter: true, Reason: "poison"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.GroupConfig()
			config.NackBackoff = func(int) time.Duration { return 10 * time.Millisecond }
			_, messages := b.Subscribe(config)
			b.Publish(2)
			poison := idsOf(b)[0]
			for range 3 {
				fixture.Receive(b, messages).Nack()
			}
			outcome, err := adminOf(b, b.Client).Skip(t.Context(), b.Topic, "g", []string{poison}, how)
			require.NoError(t, err)
			assert.Equal(t, admin.Outcome{IDs: []string{poison}}, outcome)
			msg := fixture.Receive(b, messages)
			for redeliveries := 0; string(msg.Payload) == "0"; redeliveries++ {
				require.LessOrEqual(t, redeliveries, 2, "one may be under way, and one follows")
				msg.Nack()
				msg = fixture.Receive(b, messages)
			}
			assert.Equal(t, "1", string(msg.Payload))
			require.True(t, msg.Ack())
			b.Eventually("nothing is pending", func() bool { return b.Pending() == 0 })
			if !how.DeadLetter {
				assert.Empty(t, b.DeadLetters())
				return
			}
			letters := b.DeadLetters()
			require.Len(t, letters, 1)
			assert.Equal(t, "0", letters[0].Values["payload"])
			assert.Equal(t, "poison", letters[0].Values[redisstream.DeadLetterReasonKey])
			assert.Equal(t, poison, letters[0].Values[redisstream.DeadLetterIDKey])
			assert.Equal(t, "g", letters[0].Values[redisstream.DeadLetterGroupKey])
			assert.NotEmpty(t, letters[0].Values[redisstream.DeadLetterConsumerKey])
		})
	}
}

// A skipped message blocks its successors no longer, although its handler would get it again in an hour.
func TestSkip_longBackoff(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.FastClaimConfig()
	config.NackBackoff = func(int) time.Duration { return time.Hour }
	_, messages := b.Subscribe(config)
	b.Publish(2)
	fixture.Receive(b, messages).Nack()
	_, err := adminOf(b, b.Client).Skip(t.Context(), b.Topic, "g", idsOf(b)[:1], admin.Skip{})
	require.NoError(t, err)
	assert.Equal(t, []string{"1"}, fixture.ReceiveAll(b, messages, 1))
}

// A dry run changes nothing.
func TestSkip_dryRun(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(3)
	b.ReadAs("dead", 2)
	ids := idsOf(b)
	a := adminOf(b, b.Client)
	outcome, err := a.Skip(t.Context(), b.Topic, "g", ids[:2], admin.Skip{DeadLetter: true, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, admin.Outcome{IDs: ids[:2], DryRun: true}, outcome)
	assert.EqualValues(t, 2, b.Pending())
	assert.Empty(t, b.DeadLetters())
}

func TestSkip_errors(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := adminOf(b, b.Client)
	_, err := a.Skip(t.Context(), b.Topic, "g", []string{"1-1"}, admin.Skip{})
	require.ErrorIs(t, err, admin.ErrNoTopic)
	b.Publish(3)
	_, err = a.Skip(t.Context(), b.Topic, "g", []string{"1-1"}, admin.Skip{})
	require.ErrorIs(t, err, admin.ErrNoGroup)
	b.ReadAs("dead", 2)
	ids := idsOf(b)
	outcome, err := a.Skip(t.Context(), b.Topic, "g", []string{ids[0], ids[2], ids[1]}, admin.Skip{})
	require.ErrorIs(t, err, admin.ErrNoEntry, "no consumer has got it yet")
	require.ErrorContains(t, err, ids[2])
	assert.Equal(t, ids[:1], outcome.IDs, "what came before is skipped")
	_, err = a.Skip(t.Context(), b.Topic, "g", []string{"first"}, admin.Skip{})
	require.ErrorIs(t, err, admin.ErrInvalidID)
	require.ErrorContains(t, err, `"first"`)
	_, err = a.Skip(t.Context(), b.Topic, "g", []string{ids[1]}, admin.Skip{})
	require.NoError(t, err)
	_, err = a.Skip(t.Context(), b.Topic, "g", []string{ids[1]}, admin.Skip{})
	require.ErrorIs(t, err, admin.ErrNoEntry, "it is handled")
	// A pending entry that was trimmed can be skipped, and has nothing to keep.
	b.ReadAs("dead", 1)
	b.Do("XDEL", b.Topic, ids[2])
	_, err = a.Skip(t.Context(), b.Topic, "g", []string{ids[2]}, admin.Skip{DeadLetter: true})
	require.ErrorContains(t, err, "trimmed")
	assert.Zero(t, b.Pending())
	assert.Empty(t, b.DeadLetters())
}

// A message in the retry queue is skipped, too, with what it has.
func TestSkip_retryQueue(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.FastClaimConfig())
	b.Publish(2)
	ids := idsOf(b)
	for range 2 {
		msg := fixture.Receive(b, messages)
		redisstream.RetryAfter(msg, time.Hour)
		msg.Nack()
	}
	queue := redisstream.RetryQueueKey(b.Topic, "g")
	b.Eventually("both wait", func() bool { return b.Client.ZCard(b.Context(), queue).Val() == 2 })
	a := adminOf(b, b.Client)
	_, err := a.Skip(t.Context(), b.Topic, "g", ids[:1], admin.Skip{})
	require.NoError(t, err)
	_, err = a.Skip(t.Context(), b.Topic, "g", ids[1:], admin.Skip{DeadLetter: true})
	require.NoError(t, err)
	assert.Zero(t, b.Client.Exists(t.Context(), queue, queue+":entries").Val())
	letters := b.DeadLetters()
	require.Len(t, letters, 1)
	assert.Equal(t, "1", letters[0].Values["payload"])
	assert.Equal(t, "skipped", letters[0].Values[redisstream.DeadLetterReasonKey])
	assert.Equal(t, ids[1], letters[0].Values[redisstream.DeadLetterIDKey])
}

// In a cluster all keys of a topic are on one node.
func TestSkip_cluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t)
	topic := fixture.NewTopic(t)
	id, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, Values: []string{"data", "x"}}).Result()
	require.NoError(t, err)
	require.NoError(t, client.XGroupCreate(t.Context(), topic, "g", "0").Err())
	require.NoError(t, client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{topic, ">"}}).Err())
	a := adminOf(t, client)
	require.NoError(t, a.Pause(t.Context(), topic, "g", "me", "test"))
	require.NoError(t, a.Resume(t.Context(), topic, "g"))
	_, err = a.Skip(t.Context(), topic, "g", []string{id}, admin.Skip{DeadLetter: true})
	require.NoError(t, err)
	assert.EqualValues(t, 1, client.XLen(t.Context(), redisstream.DeadLetterTopic(topic)).Val())
	_, err = a.Reset(t.Context(), topic, "g", admin.ResetTo{ID: "0"})
	require.NoError(t, err)
}

// Without the right to acknowledge there is no dead letter: each attempt would add one.
func TestSkip_missingRight(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	b.Publish(1)
	b.ReadAs("dead", 1)
	b.Do("ACL", "SETUSER", "halfway", "on", ">secret", "~*", "+@all", "-xack")
	client := b.Server.Client(t, func(o *redis.Options) { o.Username, o.Password = "halfway", "secret" })
	_, err := adminOf(b, client).Skip(t.Context(), b.Topic, "g", idsOf(b), admin.Skip{DeadLetter: true})
	require.ErrorContains(t, err, "+xack")
	assert.Empty(t, b.DeadLetters())
	assert.EqualValues(t, 1, b.Pending())
}
