package closing

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strings"
	"sync"
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

const (
	shortClose = 100 * time.Millisecond
	// closeBound is CloseTimeout, plus the second that Close may take beyond it, plus a margin for
	// a busy machine with the race detector.
	closeBound = shortClose + time.Second + 500*time.Millisecond
	// hungTimeout is the time-out of the client. It is longer than closeBound, so that a Close that
	// waits for it fails the test.
	hungTimeout = 2500 * time.Millisecond
)

// hanging is a subscription whose server hangs.
type hanging struct {
	*fixture.Bench
	config     redisstream.SubscriberConfig
	hang       func()
	proxy      *redistest.Proxy
	direct     *redis.Client // without the proxy
	subscriber *redisstream.Subscriber
	messages   <-chan *message.Message
}

func impatient(o *redis.Options) {
	o.ReadTimeout, o.WriteTimeout, o.DialTimeout = hungTimeout, hungTimeout, hungTimeout
	o.MaxRetries, o.DialerRetries = -1, 1
}

func newHanging(t *testing.T) *hanging {
	t.Helper()
	h := &hanging{Bench: fixture.New(t)}
	h.direct = h.Client
	h.proxy = redistest.NewProxy(t, h.Server.Addr, 0)
	h.hang = h.proxy.Hang
	h.Client = h.Server.Client(t, impatient, func(o *redis.Options) { o.Addr, o.ClientName = h.proxy.Addr, h.Topic })
	h.config = hangConfig()
	return h
}

func hangConfig() redisstream.SubscriberConfig {
	config := fixture.FastClaimConfig()
	config.CloseTimeout = shortClose
	config.NackBackoff = func(int) time.Duration { return 0 }
	return config
}

// subscribe subscribes with its own log, because goroutines may log after the test.
func (h *hanging) subscribe() {
	h.Helper()
	h.config.Client = h.Client
	subscriber, err := redisstream.NewSubscriber(h.config, (&redistest.Log{}).Logger())
	require.NoError(h, err)
	h.subscriber = subscriber
	h.Cleanup(func() { require.NoError(h, subscriber.Close()) })
	h.messages, err = subscriber.Subscribe(h.Context(), h.Topic)
	require.NoError(h, err)
}

// close checks that Close returns within the bound, and that all goroutines of the subscription end
// while the server still hangs.
func (h *hanging) close() {
	h.Helper()
	began := time.Now()
	require.NoError(h, h.subscriber.Close())
	assert.Less(h, time.Since(began), closeBound)
	require.Eventually(h, func() bool { return h.left() == 0 }, 4*hungTimeout, 20*time.Millisecond, "goroutines outlive the client's time-outs")
}

// labelled labels this goroutine and the goroutines that it starts.
func (h *hanging) labelled() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("topic", h.Topic)))
}

// left returns the number of goroutines of the subscription.
func (h *hanging) left() (n int) {
	var profile bytes.Buffer
	require.NoError(h, pprof.Lookup("goroutine").WriteTo(&profile, 1))
	for record := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(record, h.Topic) && strings.Contains(record, "internal/subscription.") {
			n++
		}
	}
	return n
}

// hungStates has the states in which a subscription can be when its server hangs.
var hungStates = map[string]func(h *hanging){
	"blocked read": func(h *hanging) {
		h.subscribe()
		h.Eventually("the reader waits", func() bool { return blockedReaders(h.Bench) == 1 })
		h.hang()
	},
	"handler that never acks": func(h *hanging) {
		h.subscribe()
		h.PublishThrough(h.direct, 3)
		fixture.Receive(h, h.messages)
		h.hang()
	},
	"ack in flight": func(h *hanging) {
		h.subscribe()
		h.PublishThrough(h.direct, 3)
		msg := fixture.Receive(h, h.messages)
		h.hang()
		msg.Ack()
	},
	"ack at the last moment": func(h *hanging) {
		h.subscribe()
		h.PublishThrough(h.direct, 3)
		msg := fixture.Receive(h, h.messages)
		h.hang()
		time.AfterFunc(shortClose, func() { msg.Ack() })
	},
	"renewal before a redelivery": func(h *hanging) {
		h.subscribe()
		h.PublishThrough(h.direct, 3)
		msg := fixture.Receive(h, h.messages)
		hung := h.hangAt("evalsha")
		msg.Nack()
		fixture.WaitDone(h, hung, "the lease is renewed")
	},
	"dead-lettering": func(h *hanging) {
		h.config.MaxDeliveries = 1
		h.subscribe()
		h.PublishThrough(h.direct, 3)
		msg := fixture.Receive(h, h.messages)
		hung := h.hangAt("_dead_letter_reason")
		msg.Nack()
		fixture.WaitDone(h, hung, "the entry is dead-lettered")
	},
	"periodic tasks": func(h *hanging) {
		h.config.BlockTime, h.config.ConsumerTimeout = 10*time.Millisecond, 20*time.Millisecond
		h.config.TrimInterval = 10 * time.Millisecond
		h.subscribe()
		fixture.WaitDone(h, h.hangAt("evalsha"), "a periodic task")
	},
	"recreated group": func(h *hanging) {
		h.subscribe()
		h.PublishThrough(h.direct, 1)
		fixture.ReceiveAll(h, h.messages, 1)
		hung := h.hangAt("xinfo\r\n$6\r\nstream")
		require.NoError(h, h.direct.XGroupDestroy(h.Context(), h.Topic, "g").Err())
		fixture.WaitDone(h, hung, "the group is recreated")
	},
	"reconnect": func(h *hanging) {
		h.subscribe()
		h.hang()
		h.proxy.Cut()
	},
}

// hangAt hangs the network when a command with one of the texts is sent. It returns a channel that
// is closed then.
func (h *hanging) hangAt(texts ...string) <-chan struct{} {
	hung := make(chan struct{})
	once := sync.OnceFunc(func() {
		h.hang()
		close(hung)
	})
	h.proxy.OnSend(func(chunk []byte) (int, bool) {
		for _, text := range texts {
			if bytes.Contains(bytes.ToLower(chunk), []byte(text)) {
				once()
			}
		}
		return len(chunk), false
	})
	return hung
}

// Close keeps its bound in whatever state the server hangs. The goroutines that it leaves end with
// the client's time-outs.
func TestClose_serverHangs(t *testing.T) {
	t.Parallel()
	for name, begin := range hungStates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHanging(t)
			h.labelled()
			begin(h)
			h.close()
		})
	}
}

// The server's process is stopped: connections are accepted, but nothing is answered.
func TestClose_serverIsStopped(t *testing.T) {
	t.Parallel()
	h := &hanging{Bench: fixture.NewOn(t, redistest.Start(t)), config: hangConfig()}
	h.direct = h.Client
	h.Client = h.Server.Client(t, impatient)
	h.labelled()
	h.subscribe()
	h.PublishThrough(h.direct, 3)
	msg := fixture.Receive(t, h.messages)
	t.Cleanup(h.Server.Resume)
	h.Server.Pause()
	msg.Ack()
	h.close()
}

// Close does not wait for a Subscribe in progress, which then fails.
func TestClose_duringSubscribe(t *testing.T) {
	t.Parallel()
	h := newHanging(t)
	h.subscribe()
	hung := h.hangAt("xgroup")
	failed := make(chan error, 1)
	go func() {
		_, err := h.subscriber.Subscribe(t.Context(), h.Topic)
		failed <- err
	}()
	fixture.WaitDone(t, hung, "a command of Subscribe")
	began := time.Now()
	require.NoError(t, h.subscriber.Close())
	assert.Less(t, time.Since(began), closeBound)
	require.Error(t, redistest.Within(t, "Subscribe ends with the client's time-outs", failed))
}

// In a cluster, only the node with the stream hangs.
func TestClose_clusterNodeHangs(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	client := cluster.Client(t, func(o *redis.ClusterOptions) {
		o.ReadTimeout, o.WriteTimeout, o.DialTimeout, o.MaxRedirects = hungTimeout, hungTimeout, hungTimeout, -1
	})
	h := &hanging{Bench: &fixture.Bench{T: t, Topic: fixture.NewTopic(t)}, config: hangConfig()}
	h.PublishThrough(client, 3)
	h.config.Client = client
	subscriber, err := redisstream.NewSubscriber(h.config, (&redistest.Log{}).Logger())
	require.NoError(t, err)
	h.subscriber = subscriber
	h.messages, err = subscriber.Subscribe(t.Context(), h.Topic)
	require.NoError(t, err)
	msg := fixture.Receive(t, h.messages)
	master := cluster.Master(t, h.Topic)
	t.Cleanup(master.Resume)
	master.Pause()
	msg.Ack()
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), closeBound)
}

// The master hangs, and so does the Sentinel that the client would ask for a new one.
func TestClose_sentinelMasterHangs(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, "main", master)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{sentinel.Addr},
		ReadTimeout: hungTimeout, WriteTimeout: hungTimeout, DialTimeout: hungTimeout, MaxRetries: -1,
	})
	t.Cleanup(func() { _ = client.Close() })
	h := &hanging{Bench: &fixture.Bench{T: t, Topic: fixture.NewTopic(t)}, config: hangConfig()}
	h.PublishThrough(client, 3)
	h.config.Client = client
	subscriber, err := redisstream.NewSubscriber(h.config, (&redistest.Log{}).Logger())
	require.NoError(t, err)
	h.messages, err = subscriber.Subscribe(t.Context(), h.Topic)
	require.NoError(t, err)
	msg := fixture.Receive(t, h.messages)
	t.Cleanup(master.Resume)
	t.Cleanup(sentinel.Resume)
	master.Pause()
	sentinel.Pause()
	msg.Ack()
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), closeBound)
}
