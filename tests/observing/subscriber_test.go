package observing

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObserver_deliveredAndAcked(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.GroupConfig())
	b.Publish(20)
	subscriber, messages := b.Subscribe(config)
	first := fixture.Receive(t, messages)
	about := one[redisstream.DeliveryEvent](b, r).Subscription
	assert.Equal(t, redisstream.Subscription{Topic: b.Topic, Group: "g", Consumer: fixture.EntryOf(t, first).Consumer}, about)
	assert.Empty(t, of[redisstream.HandlerEvent](r), "the handler has it")
	assert.Positive(t, one[redisstream.ReadAheadEvent](b, r).Entries)
	first.Ack()
	fixture.ReceiveAll(t, messages, 19)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	require.NoError(t, subscriber.Close())

	deliveries := of[redisstream.DeliveryEvent](r)
	require.Len(t, deliveries, 20)
	for _, event := range deliveries {
		assert.Equal(t, about, event.Subscription)
		assert.EqualValues(t, 1, event.Deliveries)
		assert.Less(t, event.Delay, fixture.Soon)
	}
	assert.Len(t, of[redisstream.HandlerEvent](r), 20)
	assert.Equal(t, 20, r.acked())
	ahead := of[redisstream.ReadAheadEvent](r)
	assert.Equal(t, redisstream.ReadAheadEvent{Subscription: about}, ahead[len(ahead)-1], "nothing is held after the end")
	closed := of[redisstream.CloseEvent](r)
	require.Len(t, closed, 1)
	assert.Equal(t, about, closed[0].Subscription)
	assert.True(t, closed[0].Complete)
	assert.Positive(t, closed[0].Duration)
}

// An ack counts when the server has it.
func TestObserver_ackedWhenTheServerHasIt(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	var log redistest.Log
	config, r := observed(fixture.GroupConfig())
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	b.Do("REPLICAOF", "127.0.0.1", "1") // writes are refused
	msg.Ack()
	one[redisstream.HandlerEvent](b, r)
	b.Eventually("it is refused", func() bool { return log.Count("acknowledging failed") > 0 })
	assert.Zero(t, r.acked())
	b.Do("REPLICAOF", "NO", "ONE")
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	assert.Equal(t, redisstream.AckEvent{Subscription: one[redisstream.DeliveryEvent](b, r).Subscription, Entries: 1}, one[redisstream.AckEvent](b, r))
}

func TestObserver_nackedAndRedelivered(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.GroupConfig())
	_, messages := b.Subscribe(config)
	b.Publish(1)
	fixture.Receive(t, messages).Nack()
	fixture.Receive(t, messages).Ack()
	one[redisstream.AckEvent](b, r)
	deliveries, handled := of[redisstream.DeliveryEvent](r), of[redisstream.HandlerEvent](r)
	require.Len(t, deliveries, 2)
	require.Len(t, handled, 2)
	for i := range 2 {
		assert.EqualValues(t, i+1, deliveries[i].Deliveries)
		assert.Equal(t, i == 0, handled[i].Nacked)
	}
	assert.Equal(t, 1, r.acked())
}

// A fan-out and a group with AutoAck have deliveries and handlers, and no acks.
func TestObserver_withoutAcks(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.SubscriberConfig{
		"fan-out": {StartID: "0"}, "AutoAck": {ConsumerGroup: "g", AutoAck: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config, r := observed(config)
			subscriber, messages := b.Subscribe(config)
			b.Publish(3)
			fixture.ReceiveAll(t, messages, 3)
			require.NoError(t, subscriber.Close())
			assert.Len(t, of[redisstream.DeliveryEvent](r), 3)
			assert.Len(t, of[redisstream.HandlerEvent](r), 3)
			assert.Zero(t, r.acked())
			closed := of[redisstream.CloseEvent](r)
			require.Len(t, closed, 1)
			assert.Equal(t, config.ConsumerGroup, closed[0].Group)
			assert.Equal(t, config.ConsumerGroup == "", closed[0].Consumer == "")
		})
	}
}

func TestObserver_takenOver(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(7)
	b.ReadAs("dead", 4)
	b.Do("XCLAIM", b.Topic, "g", "released", 0, b.ReadAs("released", 1)[0].ID, "TIME", 0)
	config, r := observed(fixture.FastClaimConfig())
	_, messages := b.Subscribe(config)
	fixture.ReceiveAll(t, messages, 7)
	b.Eventually("acknowledged", func() bool { return r.acked() == 7 })
	taken, released := 0, 0
	for _, event := range of[redisstream.TakeOverEvent](r) {
		taken, released = taken+event.Entries, released+event.Released
	}
	assert.Equal(t, 4, taken)
	assert.Equal(t, 1, released)
	redeliveries := 0
	for _, event := range of[redisstream.DeliveryEvent](r) {
		if event.Deliveries > 1 {
			redeliveries++
		}
	}
	assert.Equal(t, 5, redeliveries, "as the server counts")
}

func TestObserver_leaseLost(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.FastClaimConfig())
	_, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	b.Do("XCLAIM", b.Topic, "g", "other", 0, fixture.EntryOf(t, msg).ID)
	fixture.WaitDone(t, msg.Context().Done(), "the lease is lost")
	assert.Equal(t, 1, one[redisstream.LeaseLossEvent](b, r).Entries)
	msg.Ack()
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	assert.Len(t, of[redisstream.LeaseLossEvent](r), 1)
}

// A Commit finds that another consumer has the entry, before a renewal does.
func TestObserver_leaseLostAtCommit(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.GroupConfig())
	subscriber, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	b.Do("XCLAIM", b.Topic, "g", "other", 0, fixture.EntryOf(t, msg).ID)
	err := redisstream.Commit(msg.Context(), func(redis.Pipeliner) error { return nil })
	require.ErrorIs(t, err, redisstream.ErrNotHeld)
	require.ErrorIs(t, redisstream.Commit(msg.Context(), func(redis.Pipeliner) error { return nil }), redisstream.ErrNotHeld)
	msg.Ack()
	require.NoError(t, subscriber.Close())
	assert.Len(t, of[redisstream.LeaseLossEvent](r), 1)
	assert.Zero(t, r.acked(), "its new owner acks it")
}

func TestObserver_deadLettered(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.GroupConfig())
	config.MaxDeliveries = 2
	config.NackBackoff = func(int) time.Duration { return 0 }
	_, messages := b.Subscribe(config)
	b.Publish(1)
	fixture.Receive(t, messages).Nack()
	fixture.Receive(t, messages).Nack()
	b.Publish(1)
	rejected := fixture.Receive(t, messages)
	redisstream.Reject(rejected, errors.New("no"))
	rejected.Nack()
	require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"no", "message"}}).Err())
	b.Eventually("dead letters", func() bool { return len(of[redisstream.DeadLetterEvent](r)) == 3 })
	var reasons []redisstream.DeadLetterReason
	for _, event := range of[redisstream.DeadLetterEvent](r) {
		assert.Equal(t, b.Topic, event.Topic)
		reasons = append(reasons, event.Reason)
	}
	assert.Equal(t, []redisstream.DeadLetterReason{
		redisstream.DeadLetterOverLimit, redisstream.DeadLetterRejected, redisstream.DeadLetterUndecodable,
	}, reasons)
	assert.Len(t, b.DeadLetters(), 3)
	assert.Zero(t, r.acked())
}

func TestObserver_parked(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.FastClaimConfig())
	subscriber, messages := b.Subscribe(config)
	b.Publish(2)
	first := fixture.Receive(t, messages)
	redisstream.RetryAfter(first, time.Hour) // longer than a lease
	first.Nack()
	b.Eventually("parked", func() bool { return len(of[redisstream.ParkEvent](r)) == 1 })
	second := fixture.Receive(t, messages)
	redisstream.RetryAfter(second, config.ClaimMinIdle/2) // it waits here, and Close parks it
	second.Nack()
	require.NoError(t, subscriber.Close())
	parked := of[redisstream.ParkEvent](r)
	require.Len(t, parked, 2)
	assert.Equal(t, 1, parked[0].Entries)
	assert.Equal(t, 1, parked[1].Entries)
	assert.EqualValues(t, 2, b.Client.ZCard(t.Context(), redisstream.RetryQueueKey(b.Topic, "g")).Val())
}

// Handlers that settle their messages after CloseTimeout are observed, too.
func TestObserver_lateHandlers(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config, r := observed(fixture.GroupConfig())
	config.MaxInFlight, config.CloseTimeout = 2, 10*time.Millisecond
	subscriber, messages := b.Subscribe(config)
	b.Publish(2)
	acked, parked := fixture.Receive(t, messages), fixture.Receive(t, messages)
	require.NoError(t, subscriber.Close())
	assert.Empty(t, of[redisstream.HandlerEvent](r))
	acked.Ack()
	redisstream.RetryAfter(parked, time.Hour)
	parked.Nack()
	b.Eventually("settled", func() bool {
		return r.acked() == 1 && len(of[redisstream.ParkEvent](r)) == 1 && len(of[redisstream.HandlerEvent](r)) == 2
	})
	for _, event := range of[redisstream.HandlerEvent](r) {
		assert.GreaterOrEqual(t, event.Duration, config.CloseTimeout)
	}
}

func TestObserver_trimmedUnread(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.SubscriberConfig{
		"group": fixture.FastClaimConfig(), "fan-out": {StartID: "0", BlockTime: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t))
			config, r := observed(config)
			config.Unmarshaler = redisstream.PlainMarshaler{}
			fixture.AddPlain(t, b.Client, b.Topic, "*", "read")
			_, messages := b.Subscribe(config)
			first := fixture.Receive(t, messages)
			settle := func() {
				first.Ack()
				fixture.ReceiveAll(t, messages, 10)
			}
			pipe := b.Client.TxPipeline()
			for range 50 {
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, MaxLen: 10, Values: []string{"data", "x"}})
			}
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
			if config.ConsumerGroup == "" {
				settle()
			}
			b.Eventually("counted", func() bool {
				var sum int64
				for _, event := range of[redisstream.TrimEvent](r) {
					sum += event.Entries
				}
				return sum == 40
			})
			if config.ConsumerGroup != "" { // what is read between two looks is not counted
				settle()
			}
		})
	}
}

func TestObserver_reconnected(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.SubscriberConfig{"group": fixture.GroupConfig(), "fan-out": {StartID: "0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			proxy := redistest.NewProxy(t, b.Server.Addr, 0)
			config, r := observed(config)
			config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
			_, messages := b.Subscribe(config)
			b.Publish(1)
			fixture.ReceiveAll(t, messages, 1)
			assert.Empty(t, of[redisstream.ReconnectEvent](r), "the first connection is none")
			proxy.Cut()
			assert.Equal(t, b.Topic, one[redisstream.ReconnectEvent](b, r).Topic)
			b.Publish(1)
			fixture.ReceiveAll(t, messages, 1)
			assert.Len(t, of[redisstream.ReconnectEvent](r), 1)
		})
	}
}

// The server does not answer when the subscription ends.
func TestObserver_closeThatIsNotComplete(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	config, r := observed(fixture.GroupConfig())
	config.CloseTimeout = 10 * time.Millisecond
	subscriber, messages := b.Subscribe(config)
	b.Publish(1)
	fixture.Receive(t, messages)
	b.Server.Pause()
	defer b.Server.Resume()
	require.NoError(t, subscriber.Close())
	closed := of[redisstream.CloseEvent](r)
	require.Len(t, closed, 1)
	assert.False(t, closed[0].Complete)
	assert.GreaterOrEqual(t, closed[0].Duration, 900*time.Millisecond)
}
