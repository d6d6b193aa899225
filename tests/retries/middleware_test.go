package retries

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	errBusy    = errors.New("busy")
	errUnknown = errors.New("no such product")
)

// calls records when a handler was called for each message.
type calls struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (c *calls) record(msg *message.Message) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[string][]time.Time{}
	}
	c.at[string(msg.Payload)] = append(c.at[string(msg.Payload)], time.Now())
	return len(c.at[string(msg.Payload)])
}

func (c *calls) of(payload string) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.at[payload]...)
}

// A handler of a Router fails: a message is retried after the delays for its error, and becomes a
// dead letter in the end. Others do not wait, and other handlers get each message once.
func TestRetryLater_router(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	router := fixture.NewRouter(t, message.RouterConfig{}, &log)
	retry := redisstream.RetryLater{
		Delays: []time.Duration{100 * time.Millisecond, 400 * time.Millisecond},
		DelaysFor: func(err error) []time.Duration {
			if errors.Is(err, errUnknown) {
				return nil
			}
			return []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}
		},
	}
	router.AddMiddleware(retry.Middleware, middleware.Recoverer)
	var billing, audit calls
	config := shortLease()
	router.AddConsumerHandler("billing", b.Topic, b.Subscriber(config), func(msg *message.Message) error {
		n := billing.record(msg)
		switch {
		case string(msg.Payload) == "unknown":
			return errUnknown
		case string(msg.Payload) == "panics":
			panic("no milk")
		case string(msg.Payload) == "busy" && n < 3:
			return errBusy
		}
		return nil
	})
	config.ConsumerGroup = "audit"
	router.AddConsumerHandler("audit", b.Topic, b.Subscriber(config), func(msg *message.Message) error {
		audit.record(msg)
		return nil
	})
	fixture.RunRouter(t, router)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	payloads := []string{"unknown", "panics", "busy", "fine"}
	for _, payload := range payloads {
		require.NoError(t, publisher.Publish(b.Topic, message.NewMessage(payload, []byte(payload))))
	}
	b.Eventually("two are dead letters", func() bool { return len(b.DeadLetters()) == 2 })
	b.Eventually("one is retried", func() bool { return len(billing.of("busy")) == 3 })
	nothingIsLeft(b)
	assert.Len(t, billing.of("unknown"), 1)
	assert.Len(t, billing.of("panics"), 3)
	busy := billing.of("busy")
	assert.GreaterOrEqual(t, busy[1].Sub(busy[0]), 100*time.Millisecond)
	assert.GreaterOrEqual(t, busy[2].Sub(busy[1]), 400*time.Millisecond)
	assert.True(t, billing.of("fine")[0].Before(busy[1]), "it did not wait")
	for _, payload := range payloads {
		b.Eventually("the other group has it", func() bool { return len(audit.of(payload)) == 1 })
	}
	for _, letter := range b.DeadLetters() {
		if text := letter.Values[redisstream.DeadLetterErrorKey].(string); letter.Values[fixture.UUIDField] == "unknown" {
			assert.Equal(t, errUnknown.Error(), text)
		} else {
			assert.Contains(t, text, "no milk")
		}
	}
}

// The middleware records what becomes of a message.
func TestRetryLater_decides(t *testing.T) {
	t.Parallel()
	handler := func(*message.Message) ([]*message.Message, error) { return nil, errBusy }
	delays := []time.Duration{time.Second, time.Minute}
	for deliveries, want := range map[int64]time.Duration{0: time.Second, 1: time.Second, 2: time.Minute, 3: 0} {
		for _, retry := range []redisstream.RetryLater{{Delays: delays}, {Delays: delays, KeepOrder: true}} {
			msg := message.NewMessage("1", nil)
			msg.SetContext(redisstream.ContextWithEntry(t.Context(), redisstream.Entry{Deliveries: deliveries}))
			_, err := retry.Middleware(handler)(msg)
			require.ErrorIs(t, err, errBusy)
			wait, _ := redisstream.RecordedRetry(msg.Context())
			assert.Equal(t, want, wait)
			assert.Equal(t, deliveries == 3, redisstream.RecordedReject(msg.Context()))
			assert.Equal(t, errBusy, redisstream.RecordedError(msg.Context()))
		}
	}
	msg := message.NewMessage("1", nil) // of another Pub/Sub
	_, err := redisstream.RetryLater{}.Middleware(handler)(msg)
	require.ErrorIs(t, err, errBusy)
}
