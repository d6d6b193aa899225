package redisstreamtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeTest records the failure of a test.
type fakeTest struct {
	testing.TB
	failures []string
}

func (*fakeTest) Helper() {}

func (f *fakeTest) Fatalf(format string, args ...any) {
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
	panic(f)
}

// failing returns the failure of a test that calls run; empty: it does not fail.
func failing(t *testing.T, run func(testing.TB)) (failure string) {
	t.Helper()
	fake := &fakeTest{TB: t}
	defer func() {
		if reason := recover(); reason != nil && reason != any(fake) {
			panic(reason)
		}
		if len(fake.failures) > 0 {
			failure = fake.failures[0]
		}
	}()
	run(fake)
	return ""
}

func TestReceive(t *testing.T) {
	t.Parallel()
	messages := make(chan *message.Message, 2)
	messages <- message.NewMessage("1", nil)
	assert.Empty(t, failing(t, func(t testing.TB) { assert.Equal(t, "1", redisstreamtest.Receive(t, messages).UUID) }))
	assert.Empty(t, failing(t, func(t testing.TB) { redisstreamtest.ReceiveNone(t, messages, time.Millisecond) }))
	messages <- message.NewMessage("2", []byte("tea"))
	assert.Contains(t, failing(t, func(t testing.TB) { redisstreamtest.ReceiveNone(t, messages, time.Minute) }), `unexpected message 2: "tea"`)
	began := time.Now()
	assert.Contains(t, failing(t, func(t testing.TB) { redisstreamtest.Receive(t, messages) }), "no message within 10s")
	assert.GreaterOrEqual(t, time.Since(began), redisstreamtest.Timeout)
	close(messages)
	assert.Contains(t, failing(t, func(t testing.TB) { redisstreamtest.ReceiveAndAck(t, messages, 1) }), "channel is closed")
	assert.Empty(t, failing(t, func(t testing.TB) { redisstreamtest.ReceiveNone(t, messages, time.Minute) }))
}

func TestServer_WaitAcked_fails(t *testing.T) {
	t.Parallel()
	assert.Contains(t, failing(t, func(t testing.TB) {
		server := redisstreamtest.New(t)
		topic := server.Topic()
		require.NoError(t, server.Client.XGroupCreateMkStream(t.Context(), topic, "kitchen", "$").Err())
		server.WaitAcked(topic, "kitchen")
		server.WaitAcked(topic, "other")
	}), `group "other" after 10s: the group does not exist`)
}

func TestServer_unacked(t *testing.T) {
	t.Parallel()
	server := redisstreamtest.New(t)
	pubSub, topic := server.PubSub("kitchen"), server.Topic()
	assert.Contains(t, server.Unacked(topic, "kitchen"), "no such key")
	require.NoError(t, pubSub.SubscribeInitialize(topic))
	assert.Empty(t, server.Unacked(topic, "kitchen"))
	publish(t, pubSub, topic, "coffee")
	assert.Regexp(t, `entries up to 0(-0)? are delivered, the newest is .+`, server.Unacked(topic, "kitchen"))
	msg := redisstreamtest.Receive(t, subscribe(t, pubSub, topic))
	assert.Equal(t, "1 entries are pending", server.Unacked(topic, "kitchen"))
	msg.Ack()
	server.WaitAcked(topic, "kitchen")
}

func TestNew_fails(t *testing.T) {
	t.Parallel()
	assert.Contains(t, failing(t, func(t testing.TB) { redisstreamtest.New(t, redisstreamtest.WithURL("no URL")) }), "redisstreamtest: ")
	server := func(t testing.TB) *redisstreamtest.Server { t.Helper(); return redisstreamtest.New(t) }
	assert.Contains(t, failing(t, func(t testing.TB) {
		server(t).Publisher(func(c *redisstream.PublisherConfig) { c.MaxLen = -1 })
	}), "PublisherConfig.MaxLen")
	assert.Contains(t, failing(t, func(t testing.TB) {
		server(t).Subscriber("g", func(c *redisstream.SubscriberConfig) { c.MaxInFlight = -1 })
	}), "SubscriberConfig.MaxInFlight")
}

func TestWithLogger(t *testing.T) {
	t.Parallel()
	var log redistest.Log
	server := redisstreamtest.New(t, redisstreamtest.WithLogger(log.Logger()))
	subscribe(t, server.Subscriber("kitchen"), server.Topic())
	require.Eventually(t, func() bool { return len(log.Lines()) > 0 }, redistest.Soon, time.Millisecond)
}
