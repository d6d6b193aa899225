package redisstreamtest_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamtest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// onEach runs a test on the embedded server and on a real one.
func onEach(t *testing.T, test func(t *testing.T, server *redisstreamtest.Server)) {
	t.Helper()
	for name, url := range map[string]string{"embedded": "", "real": "redis://" + redistest.Shared().Addr} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, redisstreamtest.New(t, redisstreamtest.WithURL(url)))
		})
	}
}

func publish(t *testing.T, publisher message.Publisher, topic string, payloads ...string) {
	t.Helper()
	for _, payload := range payloads {
		require.NoError(t, publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte(payload))))
	}
}

func subscribe(t *testing.T, subscriber message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	return messages
}

func payloads(messages []*message.Message) (list []string) {
	for _, msg := range messages {
		list = append(list, string(msg.Payload))
	}
	return list
}

func TestServer_nackAndAck(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		pubSub, topic := server.PubSub("kitchen"), server.Topic()
		publish(t, pubSub, topic, "coffee", "tea", "cake")
		messages := subscribe(t, pubSub, topic)
		for delivery := int64(1); delivery <= 3; delivery++ {
			msg := redisstreamtest.Receive(t, messages)
			entry, _ := redisstream.EntryFromContext(msg.Context())
			assert.Equal(t, delivery, entry.Deliveries)
			assert.Equal(t, "coffee", string(msg.Payload))
			msg.Nack()
		}
		assert.Equal(t, []string{"coffee", "tea", "cake"}, payloads(redisstreamtest.ReceiveAndAck(t, messages, 3)))
		redisstreamtest.ReceiveNone(t, messages, 20*time.Millisecond)
		server.WaitAcked(topic, "kitchen")
		require.NoError(t, pubSub.Close())
		redisstreamtest.ReceiveNone(t, messages, time.Minute)
	})
}

func TestServer_fanOut(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		publisher, topic := server.Publisher(), server.Topic()
		publish(t, publisher, topic, "coffee")
		first, second := subscribe(t, server.Subscriber(""), topic), subscribe(t, server.Subscriber(""), topic)
		publish(t, publisher, topic, "tea")
		for _, messages := range []<-chan *message.Message{first, second} {
			assert.Equal(t, []string{"coffee", "tea"}, payloads(redisstreamtest.ReceiveAndAck(t, messages, 2)))
		}
	})
}

func TestServer_deadLetters(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		topic := server.Topic()
		pubSub := server.PubSub("kitchen", func(c *redisstream.SubscriberConfig) {
			c.MaxDeliveries, c.NackBackoff = 2, func(int) time.Duration { return 0 }
		})
		publish(t, pubSub, topic, "coffee", "tea")
		require.NoError(t, server.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, Values: []string{"not", "a message"}}).Err())
		messages := subscribe(t, pubSub, topic)
		for range 2 {
			redisstream.NackWithReason(redisstreamtest.Receive(t, messages), errors.New("out of milk"))
		}
		assert.Equal(t, []string{"tea"}, payloads(redisstreamtest.ReceiveAndAck(t, messages, 1)))
		server.WaitAcked(topic, "kitchen")

		var deadLetters []redisstream.DeadLetter
		for deadLetter, err := range redisstream.DeadLetters(t.Context(), server.Client, topic) {
			require.NoError(t, err)
			deadLetters = append(deadLetters, deadLetter)
		}
		require.Len(t, deadLetters, 2)
		assert.Equal(t, "out of milk", deadLetters[0].Error)
		assert.EqualValues(t, 2, deadLetters[0].Deliveries)
		n, err := redisstream.DropDeadLettersByID(t.Context(), server.Client, topic, deadLetters[1].ID)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		n, err = redisstream.ReplayDeadLetters(t.Context(), server.Client, topic, 10)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Equal(t, []string{"coffee"}, payloads(redisstreamtest.ReceiveAndAck(t, messages, 1)))
	})
}

// Messages of a consumer that has ended go to another: at once after Close, otherwise after
// ClaimMinIdle.
func TestServer_takeOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		topic := server.Topic()
		fast := func(c *redisstream.SubscriberConfig) {
			c.ClaimMinIdle, c.ClaimInterval, c.CloseTimeout = 200*time.Millisecond, 20*time.Millisecond, -1
			c.MaxInFlight = 4
		}
		leaving := server.PubSub("kitchen", fast)
		publish(t, leaving, topic, "coffee", "tea", "cake")
		require.NoError(t, server.Client.XGroupCreate(t.Context(), topic, "kitchen", "0").Err())
		require.NoError(t, server.Client.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: "kitchen", Consumer: "dead", Streams: []string{topic, ">"}, Count: 1,
		}).Err())
		messages := subscribe(t, leaving, topic)
		redisstreamtest.Receive(t, messages)
		staying := subscribe(t, server.Subscriber("kitchen", fast), topic)
		require.NoError(t, leaving.Close())
		got := payloads(redisstreamtest.ReceiveAndAck(t, staying, 3))
		slices.Sort(got)
		assert.Equal(t, []string{"cake", "coffee", "tea"}, got)
		server.WaitAcked(topic, "kitchen")
	})
}

// A lease is renewed while a handler works, so no other consumer gets its message.
func TestServer_lease(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		topic := server.Topic()
		fast := func(c *redisstream.SubscriberConfig) {
			c.ClaimMinIdle, c.ClaimInterval = 300*time.Millisecond, 20*time.Millisecond
		}
		pubSub := server.PubSub("kitchen", fast)
		publish(t, pubSub, topic, "coffee")
		msg := redisstreamtest.Receive(t, subscribe(t, pubSub, topic))
		redisstreamtest.ReceiveNone(t, subscribe(t, server.Subscriber("kitchen", fast), topic), time.Second)
		msg.Ack()
		server.WaitAcked(topic, "kitchen")
	})
}

func TestServer_trimsAndRemovesConsumers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		topic := server.Topic()
		pubSub := server.PubSub("kitchen", func(c *redisstream.SubscriberConfig) { c.TrimInterval = 20 * time.Millisecond })
		messages := subscribe(t, pubSub, topic)
		publish(t, pubSub, topic, "coffee", "tea")
		redisstreamtest.ReceiveAndAck(t, messages, 2)
		server.WaitAcked(topic, "kitchen")
		require.Eventually(t, func() bool { return server.Client.XLen(t.Context(), topic).Val() == 0 }, redistest.Soon, time.Millisecond)
		require.NoError(t, pubSub.Close())
		consumers, err := server.Client.XInfoConsumers(t.Context(), topic, "kitchen").Result()
		require.NoError(t, err)
		assert.Empty(t, consumers)
	})
}

func TestServer_groupVanishes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		pubSub, topic := server.PubSub("kitchen"), server.Topic()
		messages := subscribe(t, pubSub, topic)
		publish(t, pubSub, topic, "coffee")
		redisstreamtest.ReceiveAndAck(t, messages, 1)
		server.WaitAcked(topic, "kitchen")
		require.NoError(t, server.Client.XGroupDestroy(t.Context(), topic, "kitchen").Err())
		publish(t, pubSub, topic, "tea")
		received := redisstreamtest.ReceiveAndAck(t, messages, 1)
		if string(received[0].Payload) == "coffee" { // redelivered, because its ack is newer than the checkpoint
			received = redisstreamtest.ReceiveAndAck(t, messages, 1)
		}
		assert.Equal(t, []string{"tea"}, payloads(received))
	})
}

func TestServer_waitReplicas(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, server *redisstreamtest.Server) {
		publisher := server.Publisher(func(c *redisstream.PublisherConfig) { c.WaitReplicas, c.WaitTimeout = 1, time.Millisecond })
		err := publisher.Publish(server.Topic(), message.NewMessage("1", nil))
		require.ErrorIs(t, err, redisstream.ErrNotReplicated)
	})
}

// The whole suite of Watermill passes on the embedded server, but takes minutes. These parts use
// most commands.
func TestServer_conformance(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		"publish and subscribe": tests.TestPublishSubscribe,
		"resend on error":       tests.TestResendOnError,
		"order":                 tests.TestPublishSubscribeInOrder,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redisstreamtest.New(t)
			features := tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true}
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: features},
				func(*testing.T) (message.Publisher, message.Subscriber) {
					pubSub := server.PubSub(watermill.NewShortUUID())
					return pubSub.Publisher, pubSub.Subscriber
				})
		})
	}
}

func TestServer_closesEverythingInOrder(t *testing.T) { //nolint:tparallel // it checks what the inner test leaves
	t.Parallel()
	var server *redisstreamtest.Server
	var messages <-chan *message.Message
	var publisher *redisstream.Publisher
	var msg *message.Message
	began := time.Now()
	t.Run("test", func(t *testing.T) {
		server = redisstreamtest.New(t)
		topic := server.Topic()
		messages = subscribe(t, server.Subscriber("kitchen"), topic)
		publisher = server.Publisher() // made after the Subscriber, but closed after it too
		publish(t, publisher, topic, "coffee")
		msg = redisstreamtest.Receive(t, messages) // neither acked nor nacked
	})
	assert.Less(t, time.Since(began), redistest.Soon)
	require.Error(t, msg.Context().Err())
	require.ErrorIs(t, publisher.Publish("topic", msg), redisstream.ErrPublisherClosed)
	require.ErrorIs(t, server.Client.Ping(context.Background()).Err(), redis.ErrClosed)
}

func TestServer_leavesNothingOnARealServer(t *testing.T) { //nolint:tparallel // it checks what the inner test leaves
	t.Parallel()
	client := redistest.Shared().Client(t)
	var topic string
	t.Run("test", func(t *testing.T) {
		server := redisstreamtest.New(t, redisstreamtest.WithURL("redis://"+redistest.Shared().Addr))
		topic = server.Topic()
		publish(t, server.Publisher(), topic, "coffee")
		publish(t, server.Publisher(), redisstream.DeadLetterTopic(topic), "tea")
	})
	assert.Zero(t, client.Exists(t.Context(), topic, redisstream.DeadLetterTopic(topic)).Val())
}

// The package doc lists what the embedded server can't do. This test fails when a newer version can
// do it.
func TestServer_differences(t *testing.T) {
	t.Parallel()
	client := redisstreamtest.New(t).Client
	ctx := t.Context()
	require.NoError(t, client.XGroupCreateMkStream(ctx, "s", "g", "0").Err())
	for command, want := range map[string]string{
		"XGROUP SETID s g 0":                           "not supported",
		"XTRIM s MINID ~ 0-0 LIMIT 1 ACKED":            "ERR",
		"XREADGROUP GROUP g c MAXSIZE 100 STREAMS s >": "ERR",
		"ACL WHOAMI": "ERR",
	} {
		var args []any
		for word := range strings.FieldsSeq(command) {
			args = append(args, word)
		}
		assert.ErrorContains(t, client.Do(ctx, args...).Err(), want, command)
	}
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, word := range []string{"XGROUP SETID", "ACKED", "MAXSIZE", "ACLs", "WAIT"} {
		assert.Contains(t, string(doc), word)
	}
}
