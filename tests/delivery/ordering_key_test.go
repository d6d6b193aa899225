package delivery

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// publishKeyed publishes n messages of a key.
func publishKeyed(b *fixture.Bench, key string, n int) {
	b.Helper()
	publisher := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client})
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewShortUUID(), []byte(fmt.Sprint(i)))
		messages[i].Metadata.Set("key", key)
		if key == "" {
			messages[i].Metadata.Set("key", fmt.Sprint("other", i))
		}
	}
	require.NoError(b, publisher.Publish(b.Topic, messages...))
}

func ofKey(msg *message.Message) string { return msg.Metadata.Get("key") }

// All messages of one key fail, and many of them are in front of other keys. The other keys are
// handled all the same.
func TestOrderingKey_failingKeyBlocksNoOther(t *testing.T) {
	t.Parallel()
	for _, poison := range []int{20, 500, 900} {
		t.Run(fmt.Sprint(poison), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			publishKeyed(b, "poison", poison)
			publishKeyed(b, "", 50)
			config := fixture.GroupConfig()
			config.StartID, config.MaxInFlight, config.OrderingKey = "0", 10, ofKey
			_, messages := b.Subscribe(config)
			limit := time.After(2*time.Second + fixture.Soon/5)
			for left := 50; left > 0; {
				select {
				case msg := <-messages:
					if ofKey(msg) == "poison" {
						msg.Nack()
						continue
					}
					msg.Ack()
					left--
				case <-limit:
					require.FailNow(t, "messages of other keys wait", "%d are left", left)
				}
			}
		})
	}
}

// A slow key delays no other key, even if its messages were taken over from a dead consumer.
func TestOrderingKey_slowKeyDelaysNoOther(t *testing.T) {
	t.Parallel()
	for _, claimed := range []bool{false, true} {
		t.Run(fmt.Sprint("claimed: ", claimed), func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			publishKeyed(b, "slow", 200)
			publishKeyed(b, "", 300)
			config := fixture.FastClaimConfig()
			config.StartID, config.MaxInFlight, config.OrderingKey, config.CloseTimeout = "0", 10, ofKey, -1
			if claimed {
				config.ClaimMinIdle = 10 * time.Second
				b.SetIdle("dead", b.ReadAs("dead", 400), time.Hour)
			}
			_, messages := b.Subscribe(config)
			limit := time.After(2*time.Second + fixture.Soon/5)
			for left := 300; left > 0; {
				select {
				case msg := <-messages:
					if ofKey(msg) == "slow" {
						time.AfterFunc(500*time.Millisecond, func() { msg.Ack() })
						continue
					}
					msg.Ack()
					left--
				case <-limit:
					require.FailNow(t, "messages of other keys wait", "%d are left", left)
				}
			}
		})
	}
}

func TestOrderingKey_orderForEachKey(t *testing.T) {
	t.Parallel()
	const keys, each = 7, 60
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.MaxInFlight = 16
	config.OrderingKey = func(msg *message.Message) string { return msg.Metadata.Get("key") }
	_, messages := b.Subscribe(config)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
	require.NoError(t, err)
	for i := range each {
		for k := range keys {
			msg := message.NewMessage("", []byte(fmt.Sprint(i)))
			msg.Metadata.Set("key", fmt.Sprint(k))
			require.NoError(t, publisher.Publish(b.Topic, msg))
		}
	}
	var mu sync.Mutex
	order := map[string][]string{}
	working := map[string]bool{}
	parallel, most := 0, 0
	var handlers sync.WaitGroup
	for done := 0; done < keys*each; {
		msg := fixture.Receive(t, messages)
		key := msg.Metadata.Get("key")
		mu.Lock()
		require.False(t, working[key], "one message of a key at a time")
		working[key] = true
		parallel++
		most = max(most, parallel)
		first := len(order[key]) == 0 || !slices.Contains(order[key], string(msg.Payload)+" nacked")
		nack := string(msg.Payload) == "20" && first
		if nack {
			order[key] = append(order[key], "20 nacked")
		} else {
			order[key] = append(order[key], string(msg.Payload))
			done++
		}
		mu.Unlock()
		handlers.Go(func() {
			time.Sleep(time.Millisecond) // work
			mu.Lock()
			working[key] = false
			parallel--
			mu.Unlock()
			if nack {
				msg.Nack()
			} else {
				msg.Ack()
			}
		})
	}
	handlers.Wait()
	want := slices.Insert(fixture.Payloads(each), 20, "20 nacked")
	for k := range keys {
		assert.Equal(t, want, order[fmt.Sprint(k)])
	}
	assert.Greater(t, most, 1, "keys run in parallel")
}
