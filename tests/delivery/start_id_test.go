package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// IDs are pairs of unsigned 64-bit numbers. NewSubscriber refuses an ID that the server would
// refuse or could never reach.
func TestNewSubscriber_startID(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	const most = "18446744073709551615"
	for id, valid := range map[string]bool{
		"$": true, "0": true, "0-0": true, "17-4": true, most: true, most + "-" + most: true,
		"18446744073709551616-0": false, "0-18446744073709551616": false, "18446744073709551616": false,
		"-": false, "1-": false, "-1": false, "1-2-3": false, "+1": false, "1-*": false, ">": false, "one": false,
	} {
		for _, group := range []string{"", "g"} {
			_, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, StartID: id, ConsumerGroup: group}, watermill.NopLogger{})
			name := fmt.Sprintf("StartID %q, group %q", id, group)
			if valid {
				assert.NoError(t, err, name)
				continue
			}
			assert.ErrorIs(t, err, redisstream.ErrInvalidConfig, name)
			assert.ErrorContains(t, err, "StartID", name)
			assert.Error(t, client.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"none", id}, Block: -1}).Err(), name)
		}
	}
}

func TestSubscribe_startID(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(3)
	all, err := b.Client.XRange(t.Context(), b.Topic, "-", "+").Result()
	require.NoError(t, err)
	for _, group := range []string{"", "group"} {
		for start, want := range map[string][]string{"0": fixture.Payloads(3), all[0].ID: {"1", "2"}, "$": nil} {
			t.Run(group+start, func(t *testing.T) {
				t.Parallel()
				config := redisstream.SubscriberConfig{StartID: start}
				if group != "" {
					config.ConsumerGroup = group + start
				}
				own := *b
				own.T = t
				_, messages := own.Subscribe(config)
				assert.Equal(t, want, append([]string(nil), fixture.ReceiveAll(t, messages, len(want))...))
				fixture.NothingComes(t, messages, 20*time.Millisecond)
			})
		}
	}
}
