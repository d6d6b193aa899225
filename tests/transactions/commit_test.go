package transactions

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// count returns a function for Commit that increments a counter and publishes an event.
func count(b *fixture.Bench) func(tx redis.Pipeliner) error {
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	return func(tx redis.Pipeliner) error {
		tx.Incr(b.Context(), b.Topic+":count")
		return publisher.In(tx).Publish(b.Topic+":events", fixture.Numbered("event", 1)...)
	}
}

// counted returns how often the effects of count are there.
func counted(b *fixture.Bench) (count, events int64) {
	b.Helper()
	count, err := b.Client.Get(context.Background(), b.Topic+":count").Int64()
	if !errors.Is(err, redis.Nil) {
		require.NoError(b, err)
	}
	return count, b.Client.XLen(context.Background(), b.Topic+":events").Val()
}

// hasEffects checks how often the effects of count are there.
func hasEffects(b *fixture.Bench, times int64) {
	b.Helper()
	count, events := counted(b)
	assert.Equal(b, times, count, "count")
	assert.Equal(b, times, events, "events")
}

func TestCommit_effectsEventsAndAckInOneStep(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	hasEffects(b, 0)
	require.NoError(t, redisstream.Commit(msg.Context(), count(b)))
	hasEffects(b, 1)
	assert.Zero(t, b.Pending(), "acknowledged with the effects")
	time.Sleep(600 * time.Millisecond) // leases are renewed meanwhile
	require.NoError(t, msg.Context().Err(), "a committed message is not lost")
	msg.Ack()
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)
	assert.Zero(t, log.Count("level=ERROR"), log.Lines())
}

func TestCommit_nackAfterItRedeliversNothing(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.FastClaimConfig()
	config.MaxDeliveries = 1 // nor is it a dead letter
	var log redistest.Log
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	require.NoError(t, redisstream.Commit(msg.Context(), count(b)))
	require.ErrorIs(t, redisstream.Commit(msg.Context(), count(b)), redisstream.ErrNotHeld, "a second Commit")
	msg.Nack()
	fixture.NothingComes(t, messages, 700*time.Millisecond)
	hasEffects(b, 1)
	assert.Empty(t, b.DeadLetters())
	assert.Equal(t, 1, log.Count("nacked after it was committed"))
	assert.Zero(t, log.Count("level=ERROR"), log.Lines())
	assert.ErrorIs(t, redisstream.Commit(context.WithoutCancel(msg.Context()), count(b)), redisstream.ErrNotHeld, "its delivery is over")
}

// Another consumer has claimed the entry. The first one changes nothing, and its ack does not end
// the entry for the new owner.
func TestCommit_entryOfAnotherConsumer(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(*message.Message) bool{"ack": (*message.Message).Ack, "nack": (*message.Message).Nack} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.GroupConfig()
			config.NackBackoff = func(int) time.Duration { return 0 }
			_, messages := b.Subscribe(config)
			b.Publish(1)
			msg := fixture.Receive(t, messages)
			entry := fixture.EntryOf(t, msg)
			b.Do("XCLAIM", b.Topic, "g", "other", 0, entry.ID)
			require.ErrorIs(t, redisstream.Commit(msg.Context(), count(b)), redisstream.ErrNotHeld)
			hasEffects(b, 0)
			require.Error(t, msg.Context().Err(), "as after any take-over")
			settle(msg)
			fixture.NothingComes(t, messages, 200*time.Millisecond)
			assert.EqualValues(t, 1, b.Pending(), "it is pending for its new owner")
		})
	}
}

func TestCommit_entryThatWasAcknowledgedOrWhoseGroupIsGone(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(b *fixture.Bench, id string){
		"acknowledged": func(b *fixture.Bench, id string) { b.Do("XACK", b.Topic, "g", id) },
		"group gone":   func(b *fixture.Bench, _ string) { b.Do("XGROUP", "DESTROY", b.Topic, "g") },
		"stream gone":  func(b *fixture.Bench, _ string) { b.Do("DEL", b.Topic) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			_, messages := b.Subscribe(fixture.GroupConfig())
			b.Publish(1)
			msg := fixture.Receive(t, messages)
			remove(b, fixture.EntryOf(t, msg).ID)
			err := redisstream.Commit(context.WithoutCancel(msg.Context()), count(b))
			require.ErrorIs(t, err, redisstream.ErrNotHeld)
			hasEffects(b, 0)
		})
	}
}

// A take-over by a live subscriber, while the first process stands still: each message has its
// effects once.
func TestCommit_takeOver(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := fixture.FastClaimConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr, o.MaxRetries = proxy.Addr, -1 })
	_, stopped := b.Subscribe(config)
	b.Publish(1)
	first := fixture.Receive(t, stopped)
	proxy.Hang()
	config.Client = nil
	_, others := b.Subscribe(config)
	second := fixture.Receive(t, others)
	require.NoError(t, redisstream.Commit(second.Context(), count(b)))
	second.Ack()
	proxy.Resume()
	require.ErrorIs(t, redisstream.Commit(context.WithoutCancel(first.Context()), count(b)), redisstream.ErrNotHeld)
	first.Ack()
	hasEffects(b, 1)
	assert.Zero(t, b.Pending())
}

func TestCommit_errorOfFChangesNothing(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	broke := errors.New("out of milk")
	require.ErrorIs(t, redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		return errors.Join(count(b)(tx), broke)
	}), broke)
	hasEffects(b, 0)
	assert.EqualValues(t, 1, b.Pending())
	msg.Nack()
	again := fixture.Receive(t, messages)
	require.NoError(t, redisstream.Commit(again.Context(), count(b)))
	again.Ack()
	hasEffects(b, 1)
}

func TestCommit_withoutCommandsOnlyAcknowledges(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	require.NoError(t, redisstream.Commit(fixture.Receive(t, messages).Context(), func(redis.Pipeliner) error { return nil }))
	assert.Zero(t, b.Pending())
}

func TestCommit_refusesMessagesWithoutAcks(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	autoAck := fixture.GroupConfig()
	autoAck.AutoAck = true
	_, unacked := b.Subscribe(autoAck)
	_, all := b.Subscribe(redisstream.SubscriberConfig{StartID: "0"})
	b.Publish(1)
	for name, ctx := range map[string]context.Context{
		"AutoAck":   fixture.Receive(t, unacked).Context(),
		"fan-out":   fixture.Receive(t, all).Context(),
		"no entry":  t.Context(),
		"unit test": redisstream.ContextWithEntry(t.Context(), redisstream.Entry{Stream: b.Topic}),
	} {
		require.ErrorIs(t, redisstream.Commit(ctx, count(b)), redisstream.ErrNoAcks, name)
	}
	hasEffects(b, 0)
}

func TestCommit_afterTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	ctx, cancel := context.WithCancel(fixture.Receive(t, messages).Context())
	cancel()
	require.ErrorIs(t, redisstream.Commit(ctx, count(b)), context.Canceled)
	hasEffects(b, 0)
	assert.EqualValues(t, 1, b.Pending())
}

// A handler that still runs when Close gives up waiting can commit.
func TestCommit_afterClose(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.CloseTimeout = time.Millisecond
	subscriber, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	require.NoError(t, subscriber.Close())
	require.ErrorIs(t, redisstream.Commit(msg.Context(), count(b)), context.Canceled)
	require.NoError(t, redisstream.Commit(context.WithoutCancel(msg.Context()), count(b)))
	hasEffects(b, 1)
	assert.Zero(t, b.Pending())
	b.Eventually("the output is closed", func() bool {
		select {
		case _, open := <-messages:
			return !open
		default:
			return false
		}
	})
}

// What the server refuses for the first command changes nothing.
func TestCommit_firstCommandFails(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	b.Do("LPUSH", b.Topic+":list", "a")
	msg := fixture.Receive(t, messages)
	err := redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		tx.Incr(t.Context(), b.Topic+":list")
		return count(b)(tx)
	})
	require.ErrorContains(t, err, "incr: WRONGTYPE")
	hasEffects(b, 0)
	assert.EqualValues(t, 1, b.Pending())
	require.NoError(t, redisstream.Commit(msg.Context(), count(b)), "it can be committed still")
}

// Redis undoes nothing: if a later command fails, all others have their effect, and the message is
// acknowledged, as its effects would be there twice after a redelivery.
func TestCommit_laterCommandFails(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	b.Do("LPUSH", b.Topic+":list", "a")
	msg := fixture.Receive(t, messages)
	var wrong *redis.IntCmd
	err := redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		tx.Set(t.Context(), b.Topic+":first", 1, 0)
		wrong = tx.Incr(t.Context(), b.Topic+":list")
		return count(b)(tx)
	})
	failure, ok := errors.AsType[*redisstream.CommitError](err)
	require.True(t, ok, err)
	require.Equal(t, []redis.Cmder{wrong}, failure.Failed)
	require.ErrorContains(t, wrong.Err(), "WRONGTYPE")
	require.EqualError(t, err, "commit: entry "+fixture.EntryOf(t, msg).ID+": 1 of 4 commands failed after others had an effect; the first: incr: "+wrong.Err().Error())
	hasEffects(b, 1)
	assert.Equal(t, "1", b.Client.Get(t.Context(), b.Topic+":first").Val())
	assert.Zero(t, b.Pending())
	msg.Nack()
	fixture.NothingComes(t, messages, 100*time.Millisecond)
}

// A full server refuses the whole, though some of the commands free memory.
func TestCommit_fullServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := fixture.NewOn(t, server)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	b.Do("CONFIG", "SET", "maxmemory", "1")
	require.ErrorContains(t, redisstream.Commit(msg.Context(), count(b)), "OOM")
	b.Do("CONFIG", "SET", "maxmemory", "0")
	hasEffects(b, 0)
	assert.EqualValues(t, 1, b.Pending())
	require.NoError(t, redisstream.Commit(msg.Context(), count(b)))
	hasEffects(b, 1)
}

func TestCommit_argumentsArriveAsGoRedisWritesThem(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	key, plain := b.Topic+":commit", b.Topic+":plain"
	now := time.Now()
	queue := func(key string, pipe redis.Pipeliner) {
		pipe.RPush(b.Context(), key, "", "text", string(fixture.AllBytes()), fixture.AllBytes(), 1, -2.5, int64(1)<<62, true, false, now, time.Minute, nil)
		pipe.Expire(b.Context(), key, time.Hour)
	}
	pipe := b.Client.Pipeline()
	queue(plain, pipe)
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	require.NoError(t, redisstream.Commit(fixture.Receive(t, messages).Context(), func(tx redis.Pipeliner) error {
		queue(key, tx)
		return nil
	}))
	want := b.Client.LRange(t.Context(), plain, 0, -1).Val()
	require.Len(t, want, 12)
	assert.Equal(t, want, b.Client.LRange(t.Context(), key, 0, -1).Val())
}

func TestCommit_commandsReturnNoReplies(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	var n *redis.IntCmd
	require.NoError(t, redisstream.Commit(fixture.Receive(t, messages).Context(), func(tx redis.Pipeliner) error {
		n = tx.Incr(t.Context(), b.Topic+":count")
		return nil
	}))
	assert.ErrorContains(t, n.Err(), "no replies")
}

func TestCommit_refusedCommands(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	ctx := t.Context()
	for name, queue := range map[string]func(tx redis.Pipeliner){
		"blpop":       func(tx redis.Pipeliner) { tx.BLPop(ctx, time.Second, "a") },
		"xread":       func(tx redis.Pipeliner) { tx.XRead(ctx, &redis.XReadArgs{Streams: []string{"a", "0"}}) },
		"get":         func(tx redis.Pipeliner) { tx.Get(ctx, "a") },
		"select":      func(tx redis.Pipeliner) { tx.Select(ctx, 1) },
		"multi":       func(tx redis.Pipeliner) { tx.Do(ctx, "MULTI") },
		"watch":       func(tx redis.Pipeliner) { tx.Do(ctx, "watch", "a") },
		"subscribe":   func(tx redis.Pipeliner) { tx.Do(ctx, "subscribe", "a") },
		"eval":        func(tx redis.Pipeliner) { tx.Eval(ctx, "return 1", nil) },
		"wait":        func(tx redis.Pipeliner) { tx.Do(ctx, "wait", 1, 1) },
		"flushall":    func(tx redis.Pipeliner) { tx.FlushAll(ctx) },
		"nonsense":    func(tx redis.Pipeliner) { tx.Do(ctx, "nonsense") },
		"incr":        func(tx redis.Pipeliner) { tx.Do(ctx, "incr") },
		"zunionstore": func(tx redis.Pipeliner) { tx.Do(ctx, "zunionstore", "a", 3, "b") },
		"hset":        func(tx redis.Pipeliner) { tx.HSet(ctx, "a", "b", struct{}{}) },
		"rpush":       func(tx redis.Pipeliner) { tx.RPush(ctx, "a", make([]any, 7000)...) },
		"10003 commands": func(tx redis.Pipeliner) {
			for range 10_001 {
				tx.Incr(ctx, "a")
			}
		},
		"Exec": func(tx redis.Pipeliner) { _, _ = tx.Exec(ctx) },
		"TxPipelined": func(tx redis.Pipeliner) {
			_, _ = tx.TxPipelined(ctx, func(redis.Pipeliner) error { return nil })
		},
	} {
		err := redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
			_ = count(b)(tx)
			queue(tx)
			return nil
		})
		require.ErrorIs(t, err, redisstream.ErrCommitRefused, name)
		require.ErrorContains(t, err, name)
		require.Less(t, len(err.Error()), 300, strings.ToValidUTF8(err.Error(), "?"))
	}
	hasEffects(b, 0)
	require.NoError(t, redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		_ = count(b)(tx.TxPipeline()) // as in go-redis, part of the same
		return nil
	}))
	hasEffects(b, 1)
}
