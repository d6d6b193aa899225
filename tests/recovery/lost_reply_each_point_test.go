package recovery

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A connection is cut at the first point of the exchange with the server, in the next run at the
// second, and so on. The exchange includes connecting, Subscribe, Publish, claims, reads, acks, a
// retry, a dead letter and Close. In each run every message is handled once, and what Close leaves
// is free for others at once.
func TestLostReply_connectionCutAtEachPoint(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]func(p *redistest.Proxy, f redistest.Filter){
		"request": (*redistest.Proxy).OnSend,
		"reply":   (*redistest.Proxy).OnReply,
	} {
		for how, share := range map[string]int{"lost": 0, "torn": 2} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				point := int64(1)
				for ; everythingOnce(t, direction, point, share); point++ { //nolint:revive // the condition does the work
				}
				assert.Greater(t, point, int64(20))
			})
		}
	}
}

// everythingOnce uses all features of a Subscriber and a Publisher once. It cuts a connection at
// the given point, and reports whether it reached that point. One of this many parts of the chunk
// passes; 0: nothing.
func everythingOnce(t *testing.T, direction func(*redistest.Proxy, redistest.Filter), point int64, parts int) (cut bool) {
	t.Helper()
	b := fixture.New(t)
	b.Publish(3)
	for _, m := range b.ReadAs("dead", 3) {
		b.Do("XCLAIM", b.Topic, "g", "dead", 0, m.ID, "IDLE", time.Hour.Milliseconds(), "JUSTID")
	}
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	var chunks atomic.Int64
	direction(proxy, func(chunk []byte) (int, bool) {
		switch {
		case chunks.Add(1) != point:
			return len(chunk), false
		case parts == 0:
			return 0, true
		default:
			return len(chunk) / parts, true
		}
	})
	config := fixture.GroupConfig()
	config.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	config.ClaimMinIdle, config.ClaimInterval = time.Minute, 20*time.Millisecond
	config.CloseTimeout = -1
	subscriber := b.Subscriber(config)
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	if err != nil { // the connection is cut only once
		messages, err = subscriber.Subscribe(t.Context(), b.Topic)
	}
	require.NoError(t, err)

	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: config.Client})
	for _, msg := range fixture.Numbered("m", 5) {
		for publisher.Publish(b.Topic, msg) != nil { //nolint:revive // the connection is cut only once
		}
	}
	want := fixture.StoredUUIDs(t, b.Client, b.Topic) // may have one more after an uncertain Publish
	assert.Subset(t, want, fixture.UUIDs(fixture.Numbered("m", 5)))
	require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", "entry"}}).Err())
	var got []string
	for nacked := false; len(got) < len(want); {
		msg := fixture.Receive(t, messages)
		if msg.UUID == "m-3" && !nacked {
			nacked = true
			msg.Nack()
			continue
		}
		got = append(got, msg.UUID)
		msg.Ack()
	}
	assert.ElementsMatch(t, want, got, "point %d", point)
	b.Eventually("nothing stays pending", func() bool { return b.Pending() == 0 && len(b.DeadLetters()) == 1 })

	b.Publish(2)
	assert.Equal(t, "0", string(fixture.Receive(t, messages).Payload))
	require.NoError(t, subscriber.Close())
	config.Client = b.Client
	second, rest := b.Subscribe(config)
	assert.Equal(t, fixture.Payloads(2), fixture.ReceiveAll(t, rest, 2), "point %d", point)
	b.Eventually("nothing stays pending", func() bool { return b.Pending() == 0 })
	require.NoError(t, second.Close())
	assert.Len(t, b.DeadLetters(), 1)
	return chunks.Load() >= point
}
