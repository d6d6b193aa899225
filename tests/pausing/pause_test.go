package pausing

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limit is how long a pause may take to have its effect, or to end.
const limit = 2 * time.Second

func pause(b *fixture.Bench)  { b.Do("SET", redisstream.PauseKey(b.Topic, "g"), `{"by":"a test"}`) }
func resume(b *fixture.Bench) { b.Do("DEL", redisstream.PauseKey(b.Topic, "g")) }

// pendingRows returns the pending entries of the group "g".
func pendingRows(b *fixture.Bench) []redis.XPendingExt {
	b.Helper()
	rows, err := b.Client.XPendingExt(b.Context(), &redis.XPendingExtArgs{Stream: b.Topic, Group: "g", Start: "-", End: "+", Count: 1000}).Result()
	require.NoError(b, err)
	return rows
}

// configs are the configurations in which a pause has to be noticed in time.
func configs() map[string]redisstream.SubscriberConfig {
	list := map[string]redisstream.SubscriberConfig{}
	for name, change := range map[string]func(*redisstream.SubscriberConfig){
		"default":          func(*redisstream.SubscriberConfig) {},
		"ClaimInterval -1": func(c *redisstream.SubscriberConfig) { c.ClaimInterval = -1 },
		"ClaimInterval 1h": func(c *redisstream.SubscriberConfig) { c.ClaimInterval, c.BlockTime = time.Hour, time.Minute },
		"AutoAck":          func(c *redisstream.SubscriberConfig) { c.AutoAck = true },
		"MaxInFlight 16":   func(c *redisstream.SubscriberConfig) { c.MaxInFlight = 16 },
		"OrderingKey": func(c *redisstream.SubscriberConfig) {
			c.MaxInFlight, c.OrderingKey = 16, func(msg *message.Message) string { return string(msg.Payload[:1]) }
		},
	} {
		config := fixture.GroupConfig()
		change(&config)
		list[name] = config
	}
	return list
}

// Two Subscribers of the group stop within 2 s, and go on within 2 s.
func TestPause_ofTheGroup(t *testing.T) {
	t.Parallel()
	for name, config := range configs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			_, first := b.Subscribe(config)
			_, second := b.Subscribe(config)
			received := make(chan string, 1000)
			for _, messages := range []<-chan *message.Message{first, second} {
				go func() {
					for msg := range messages {
						received <- string(msg.Payload)
						msg.Ack()
					}
				}()
			}
			b.Publish(20)
			awaitPayloads(t, received, 20)
			pause(b)
			time.Sleep(limit) // what comes in this time may be delivered
			b.Publish(20)
			select {
			case payload := <-received:
				require.Fail(t, "delivered during the pause", payload)
			case <-time.After(2 * limit):
			}
			resume(b)
			resumed := time.Now()
			awaitPayloads(t, received, 1)
			assert.Less(t, time.Since(resumed), limit)
			awaitPayloads(t, received, 19)
			if !config.AutoAck {
				b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			}
		})
	}
}

func awaitPayloads(t *testing.T, received <-chan string, n int) {
	t.Helper()
	for range n {
		select {
		case <-received:
		case <-time.After(fixture.Soon):
			require.Fail(t, "a message is missing")
		}
	}
}

// A nacked message waits in strict order when the pause comes. Its count stays, and the order is kept.
func TestPause_nackedInStrictOrder(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct {
		pause, resume func(*fixture.Bench, *redisstream.Subscriber)
	}{
		"the group":      {func(b *fixture.Bench, _ *redisstream.Subscriber) { pause(b) }, func(b *fixture.Bench, _ *redisstream.Subscriber) { resume(b) }},
		"the Subscriber": {func(_ *fixture.Bench, s *redisstream.Subscriber) { s.Pause() }, func(_ *fixture.Bench, s *redisstream.Subscriber) { s.Resume() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config := fixture.GroupConfig()
			config.NackBackoff = func(int) time.Duration { return 30 * time.Second }
			subscriber, messages := b.Subscribe(config)
			b.Publish(50)
			assert.Equal(t, fixture.Payloads(20), fixture.ReceiveAll(b, messages, 20))
			msg := fixture.Receive(t, messages)
			entry := fixture.EntryOf(t, msg)
			msg.Nack()
			how.pause(b, subscriber)
			released := func() bool {
				rows := pendingRows(b)
				return len(rows) > 0 && rows[0].ID == entry.ID && rows[0].Idle > 24*time.Hour && rows[0].RetryCount == 1
			}
			b.Eventually("the nacked message is released", released)
			for _, row := range pendingRows(b)[1:] {
				assert.Zero(t, row.RetryCount, "no handler had it")
			}
			fixture.NothingComes(b, messages, limit)
			require.True(t, released(), "its delivery count is unchanged")
			how.resume(b, subscriber)
			again := fixture.Receive(t, messages)
			assert.Equal(t, entry.ID, fixture.EntryOf(t, again).ID)
			assert.EqualValues(t, 2, fixture.EntryOf(t, again).Deliveries)
			again.Ack()
			for i := 21; i < 50; i++ {
				msg := fixture.Receive(t, messages)
				assert.Equal(t, fmt.Sprint(i), string(msg.Payload))
				assert.EqualValues(t, 1, fixture.EntryOf(t, msg).Deliveries)
				msg.Ack()
			}
		})
	}
}

// Other members get what a paused Subscriber had.
func TestPause_ofASubscriber(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.MaxInFlight = 4
	paused, messages := b.Subscribe(config)
	b.Publish(20)
	held := fixture.Receive(t, messages)
	paused.Pause()
	paused.Pause(b.Topic)
	_, others := b.Subscribe(config)
	fixture.ReceiveAll(b, others, 19)
	b.Eventually("only what the handler has", func() bool { return b.Pending() == 1 })
	require.True(t, held.Ack())
	b.Eventually("its ack counts", func() bool { return b.Pending() == 0 })

	later, err := paused.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	b.Eventually("the record tells it", func() bool {
		n := 0
		for _, record := range records(b, b.Client) {
			if record.Paused {
				n++
			}
		}
		return n >= 1
	})
	b.Publish(5)
	fixture.ReceiveAll(b, others, 5)
	fixture.NothingComes(b, messages, 0)
	fixture.NothingComes(b, later, 0)
	paused.Resume()
	b.Publish(200)
	seen := 0
	for seen < 3 {
		select {
		case msg := <-later:
			msg.Ack()
			seen++
		case msg := <-messages:
			msg.Ack()
			seen++
		case <-time.After(fixture.Soon):
			require.Fail(t, "nothing comes after Resume")
		}
	}
}

func TestPause_topics(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	one, other := *b, *b
	one.Topic, other.Topic = b.Topic+"1", b.Topic+"2"
	subscriber := b.Subscriber(fixture.GroupConfig())
	subscriber.Pause(one.Topic)
	first, err := subscriber.Subscribe(t.Context(), one.Topic)
	require.NoError(t, err)
	second, err := subscriber.Subscribe(t.Context(), other.Topic)
	require.NoError(t, err)
	one.Publish(1)
	other.Publish(1)
	fixture.ReceiveAll(b, second, 1)
	fixture.NothingComes(b, first, 100*time.Millisecond)
	subscriber.Pause()
	subscriber.Resume(one.Topic)
	fixture.ReceiveAll(b, first, 1)
	other.Publish(1)
	fixture.NothingComes(b, second, 100*time.Millisecond)
	subscriber.Resume()
	fixture.ReceiveAll(b, second, 1)
}

// A fan-out keeps its position.
func TestPause_fanOut(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	subscriber, messages := b.Subscribe(redisstream.SubscriberConfig{})
	b.Publish(3)
	fixture.ReceiveAll(b, messages, 3)
	subscriber.Pause()
	b.Publish(100)
	fixture.NothingComes(b, messages, 500*time.Millisecond)
	subscriber.Resume()
	assert.Equal(t, fixture.Payloads(100), fixture.ReceiveAll(b, messages, 100))
}

// The server restarts, with its data. The group is still paused, and goes on afterwards.
func TestPause_serverRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := fixture.NewOn(t, server)
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(2)
	fixture.ReceiveAll(b, messages, 1)
	held := fixture.Receive(t, messages)
	pause(b)
	time.Sleep(limit)
	server.Kill()
	server.Restart(t)
	b.Eventually("the server answers", func() bool { return b.Client.Ping(t.Context()).Err() == nil })
	require.True(t, held.Ack())
	b.Publish(3)
	fixture.NothingComes(b, messages, limit)
	b.Eventually("the ack counts", func() bool { return b.Pending() == 0 })
	resume(b)
	assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(b, messages, 3))
}

// The group vanishes during the pause. It is created again where it was.
func TestPause_groupVanishes(t *testing.T) {
	t.Parallel()
	for _, autoAck := range []bool{false, true} {
		b := fixture.New(t)
		config := fixture.GroupConfig()
		config.AutoAck, config.StartID, config.ClaimMinIdle = autoAck, "$", 3*time.Second
		_, messages := b.Subscribe(config)
		b.Publish(10)
		fixture.ReceiveAll(b, messages, 10)
		pause(b)
		time.Sleep(limit + config.ClaimMinIdle) // an old checkpoint would be stale
		b.Publish(3)
		b.Do("XGROUP", "DESTROY", b.Topic, "g")
		fixture.NothingComes(b, messages, limit)
		resume(b)
		assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(b, messages, 3))
	}
}

// Delayed messages belong to the topic: they are moved while a group is paused.
func TestPause_delayedMessagesAreMoved(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	pause(b)
	time.Sleep(limit)
	scheduled := redisstream.DelayedKey(b.Topic)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
	require.NoError(t, err)
	msg := message.NewMessage("a", []byte("later"))
	delay.Message(msg, delay.For(time.Hour))
	require.NoError(t, publisher.Publish(b.Topic, msg))
	require.NoError(t, publisher.Close()) // it does not move them any more
	members := b.Client.ZRange(t.Context(), scheduled, 0, 0).Val()
	require.Len(t, members, 1)
	b.Do("ZADD", scheduled, 0, members[0])
	b.Eventually("it is in the topic", func() bool { return b.Len() == 1 })
	fixture.NothingComes(b, messages, 100*time.Millisecond)
	resume(b)
	assert.Equal(t, []string{"later"}, fixture.ReceiveAll(b, messages, 1))
}

// Pause, Resume, Subscribe and Close at the same time.
func TestPause_concurrentCalls(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for range 5 {
		subscriber := b.Subscriber(fixture.GroupConfig())
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 20 {
					subscriber.Pause()
					subscriber.Pause(b.Topic)
					subscriber.Resume(b.Topic)
					subscriber.Resume()
				}
			})
			all.Go(func() {
				messages, err := subscriber.Subscribe(t.Context(), b.Topic)
				if err != nil {
					assert.ErrorIs(t, err, redisstream.ErrSubscriberClosed)
					return
				}
				for msg := range messages {
					msg.Ack()
				}
			})
		}
		b.Publish(20)
		time.Sleep(20 * time.Millisecond)
		assert.NoError(t, subscriber.Close())
		all.Wait()
	}
	_, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	fixture.ReceiveAll(b, messages, 1)
}
