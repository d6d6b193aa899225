package redisstream_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// One connection is cut at one point of all that is said between us and the server, then at the next one, and so on: through
// connecting, Subscribe, Publish, claims, reads, acks, a retry, a dead letter and Close. Each time all is handled once, and
// what is left at Close is at once free for others.
func TestFault_cutAtEachPoint(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]func(p *redistest.Proxy, f redistest.Filter){
		"request": (*redistest.Proxy).OnSend,
		"reply":   (*redistest.Proxy).OnReply,
	} {
		for how, share := range map[string]int{"lost": 0, "torn": 2} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				point := int64(1)
				for ; everythingOnce(t, direction, point, share); point++ { //nolint:revive // the condition does it
				}
				assert.Greater(t, point, int64(20))
			})
		}
	}
}

// everythingOnce does all that a subscriber and a publisher do, cuts a connection at one point of it, and reports whether
// it came to that point. One part of so many of the chunk there passes; 0: nothing.
func everythingOnce(t *testing.T, direction func(*redistest.Proxy, redistest.Filter), point int64, parts int) (cut bool) {
	t.Helper()
	b := newBench(t)
	b.publish(3)
	for _, m := range b.handOut("dead", 3) {
		b.do("XCLAIM", b.topic, "g", "dead", 0, m.ID, "IDLE", time.Hour.Milliseconds(), "JUSTID")
	}
	proxy := redistest.NewProxy(t, b.server.Addr, 0)
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
	config := inGroupG()
	config.Client = b.server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	config.ClaimMinIdle, config.ClaimInterval = time.Minute, 20*time.Millisecond
	config.CloseTimeout = -1
	subscriber := b.subscriber(config)
	messages, err := subscriber.Subscribe(t.Context(), b.topic)
	if err != nil { // said at once; the connection was cut only once
		messages, err = subscriber.Subscribe(t.Context(), b.topic)
	}
	require.NoError(t, err)

	publisher := openPublisher(t, redisstream.PublisherConfig{Client: config.Client})
	for _, msg := range numbered("m", 5) {
		for publisher.Publish(b.topic, msg) != nil { //nolint:revive // the connection was cut only once
		}
	}
	want := stored(t, b.client, b.topic) // one more if that was uncertain
	assert.Subset(t, want, uuids(numbered("m", 5)))
	require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", "entry"}}).Err())
	var got []string
	for nacked := false; len(got) < len(want); {
		msg := receive(t, messages)
		if msg.UUID == "m-3" && !nacked {
			nacked = true
			msg.Nack()
			continue
		}
		got = append(got, msg.UUID)
		msg.Ack()
	}
	assert.ElementsMatch(t, want, got, "point %d", point)
	b.eventually("nothing stays pending", func() bool { return b.pending() == 0 && len(b.letters()) == 1 })

	b.publish(2)
	assert.Equal(t, "0", string(receive(t, messages).Payload))
	require.NoError(t, subscriber.Close())
	config.Client = b.client
	second, rest := b.subscribe(config)
	assert.Equal(t, upTo(2), receiveAll(t, rest, 2), "point %d", point)
	b.eventually("nothing stays pending", func() bool { return b.pending() == 0 })
	require.NoError(t, second.Close())
	assert.Len(t, b.letters(), 1)
	return chunks.Load() >= point
}
