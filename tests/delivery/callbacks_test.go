package delivery

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// brittle panics for the payload "1", and returns neither a message nor an error for "2".
type brittle struct{ redisstream.MsgpackMarshaler }

func (u brittle) Unmarshal(id string, fields map[string]any) (*message.Message, error) {
	msg, err := u.MsgpackMarshaler.Unmarshal(id, fields)
	if err != nil {
		return nil, err
	}
	switch string(msg.Payload) {
	case "1", "3":
		panic("no such luck")
	case "2":
		return nil, nil //nolint:nilnil // this is tested
	}
	return msg, nil
}

// When an Unmarshaler panics or returns nothing, only its entry is affected.
func TestCallbacks_unmarshaler(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*redisstream.SubscriberConfig){
		"group": func(*redisstream.SubscriberConfig) {},
		"OrderingKey": func(c *redisstream.SubscriberConfig) {
			c.MaxInFlight, c.OrderingKey = 4, func(*message.Message) string { return "" }
		},
		"AutoAck": func(c *redisstream.SubscriberConfig) { c.AutoAck = true },
		"fan-out": func(c *redisstream.SubscriberConfig) { c.ConsumerGroup, c.StartID = "", "0" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			var log redistest.Log
			config := fixture.FastClaimConfig()
			config.Client, config.Unmarshaler = b.Client, brittle{}
			change(&config)
			b.Publish(6)
			messages := b.SubscribeLogged(config, &log)
			assert.Equal(t, []string{"0", "4", "5"}, fixture.ReceiveAll(t, messages, 3))
			assert.Equal(t, 1, log.Count("goroutine "), "the stack is logged once")
			if config.ConsumerGroup == "" || config.AutoAck {
				assert.Equal(t, 3, log.Count("entry skipped"))
				return
			}
			b.Eventually("nothing stays pending", func() bool { return b.Pending() == 0 })
			deadLetters := b.DeadLetters()
			require.Len(t, deadLetters, 3)
			assert.Equal(t, "Unmarshaler panicked: no such luck", deadLetters[0].Values[redisstream.DeadLetterReasonKey])
			assert.Equal(t, "the Unmarshaler returned neither a message nor an error", deadLetters[1].Values[redisstream.DeadLetterReasonKey])
			assert.Equal(t, 3, log.Count("entry dead-lettered"))
		})
	}
}

// A subscriber of the dead-letter topic gets the plain fields of an entry that makes its
// Unmarshaler panic.
func TestCallbacks_unmarshalerOfDeadLetters(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.FastClaimConfig()
	config.Unmarshaler = brittle{}
	b.Publish(3)
	_, messages := b.Subscribe(config)
	fixture.ReceiveAll(t, messages, 1)
	b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 2 })
	deadLetters, err := b.Subscriber(config).Subscribe(t.Context(), redisstream.DeadLetterTopic(b.Topic))
	require.NoError(t, err)
	for range 2 {
		msg := fixture.Receive(t, deadLetters)
		assert.Contains(t, string(msg.Payload), `"payload":`)
		assert.Contains(t, msg.Metadata.Get(redisstream.DeadLetterReasonKey), "Unmarshaler")
		msg.Ack()
	}
}

func TestCallbacks_orderingKey(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.FastClaimConfig()
	config.MaxInFlight = 4
	config.OrderingKey = func(msg *message.Message) string {
		if string(msg.Payload) == "3" {
			panic(errors.New("no key"))
		}
		return string(msg.Payload)
	}
	b.Publish(6)
	_, messages := b.Subscribe(config)
	assert.ElementsMatch(t, []string{"0", "1", "2", "4", "5"}, fixture.ReceiveAll(t, messages, 5))
	b.Eventually("nothing stays pending", func() bool { return b.Pending() == 0 })
	require.Len(t, b.DeadLetters(), 1)
	assert.Equal(t, "OrderingKey panicked: no key", b.DeadLetters()[0].Values[redisstream.DeadLetterReasonKey])
}

func TestCallbacks_nackBackoff(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	config.NackBackoff = func(int) time.Duration { panic("no pause") }
	b.Publish(2)
	messages := b.SubscribeLogged(config, &log)
	for range 2 {
		fixture.Receive(t, messages).Nack()
	}
	assert.Equal(t, []string{"0", "1"}, fixture.ReceiveAll(t, messages, 2), "redelivered after a pause, in order")
	assert.Equal(t, 1, log.Count("NackBackoff panicked"))
}

func TestCallbacks_shouldClaim(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	config := fixture.FastClaimConfig()
	config.Client = b.Client
	config.ShouldClaim = func(row redisstream.PendingEntry) bool {
		if row.Consumer == "odd" {
			panic("an odd one")
		}
		return true
	}
	b.Publish(6)
	b.ReadAs("odd", 2)
	b.ReadAs("dead", 2)
	messages := b.SubscribeLogged(config, &log)
	assert.ElementsMatch(t, []string{"2", "3", "4", "5"}, fixture.ReceiveAll(t, messages, 4))
	b.Eventually("acknowledged", func() bool { return b.Pending() == 2 })
	fixture.NothingComes(t, messages, 2*config.ClaimMinIdle)
	assert.Equal(t, 1, log.Count("ShouldClaim panicked"))
}
