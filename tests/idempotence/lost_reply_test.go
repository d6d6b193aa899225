package idempotence

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// throughProxy returns an Idempotent Publisher that connects through a proxy to the Bench's server.
func throughProxy(b *fixture.Bench, change ...func(*redisstream.PublisherConfig)) (*redisstream.Publisher, *redistest.Proxy) {
	b.Helper()
	proxy := redistest.NewProxy(b, b.Server.Addr, 0)
	client := b.Server.Client(b, func(o *redis.Options) { o.Addr = proxy.Addr })
	config := redisstream.PublisherConfig{Client: client, Idempotent: true}
	for _, f := range change {
		f(&config)
	}
	return fixture.OpenPublisher(b.T, config), proxy
}

// isReply reports whether a reply may be that to messages, and not that to the handshake.
func isReply(chunk []byte) bool { return len(chunk) > 0 && chunk[0] == '$' }

// loseReplies drops each reply for which lose returns true, and cuts its connection.
func loseReplies(proxy *redistest.Proxy, lose func() bool) {
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if isReply(chunk) && lose() {
			return 0, true
		}
		return len(chunk), false
	})
}

// once returns a function that returns true at its first call.
func once() func() bool {
	var done atomic.Bool
	return func() bool { return done.CompareAndSwap(false, true) }
}

// checkOrder checks that the messages of each prefix, such as "3-" in "3-17", are in the stream once
// and in order.
func checkOrder(t *testing.T, stored []string) {
	t.Helper()
	next := map[string]int{}
	for _, uuid := range stored {
		caller, _, _ := strings.Cut(uuid, "-")
		require.Equal(t, fmt.Sprintf("%s-%d", caller, next[caller]), uuid)
		next[caller]++
	}
}

func TestIdempotent_aTenthOfTheRepliesIsLost(t *testing.T) {
	t.Parallel()
	const callers, each = 20, 500
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	var lost atomic.Int64
	loseReplies(proxy, func() bool {
		lose := rand.IntN(10) == 0
		if lose {
			lost.Add(1)
		}
		return lose
	})
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			messages := fixture.Numbered(fmt.Sprint(caller), each)
			for part := range slices.Chunk(messages, 1+caller%5*5) {
				assert.NoError(t, publisher.Publish(b.Topic, part...))
			}
		})
	}
	all.Wait()
	stored := fixture.StoredUUIDs(t, b.Client, b.Topic)
	assert.Len(t, stored, callers*each)
	checkOrder(t, stored)
	assert.Greater(t, lost.Load(), int64(50))
}

// cutEach returns a filter that cuts after a random number of bytes, again and again, and counts it.
func cutEach(bytes int, made *atomic.Int64) redistest.Filter {
	var mu sync.Mutex
	left := rand.IntN(bytes)
	return func(chunk []byte) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if left -= len(chunk); left >= 0 {
			return len(chunk), false
		}
		pass := len(chunk) + left
		left = rand.IntN(bytes)
		made.Add(1)
		return pass, true
	}
}

// numberedFrom returns n messages that continue fixture.Numbered.
func numberedFrom(prefix string, first, n int) []*message.Message {
	messages := fixture.Numbered(prefix, n)
	for i, msg := range messages {
		msg.UUID = fmt.Sprintf("%s-%d", prefix, first+i)
	}
	return messages
}

func TestIdempotent_cutsAtRandomBytes(t *testing.T) {
	t.Parallel()
	const callers, cuts = 32, 1000 // two callers share a topic
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	var made atomic.Int64
	proxy.OnReply(cutEach(3_000, &made))
	proxy.OnSend(cutEach(400_000, &made))
	var all sync.WaitGroup
	published := make([]int, callers)
	topic := func(caller int) string { return fmt.Sprint(b.Topic, caller/2) }
	for caller := range callers {
		all.Go(func() {
			for made.Load() < cuts {
				next := published[caller]
				messages := numberedFrom(fmt.Sprint(caller), next, 1+rand.IntN(120))
				if rand.IntN(20) == 0 {
					messages[0].Payload = bytes.Repeat([]byte("x"), 70_000)
				}
				if !assert.NoError(t, publisher.Publish(topic(caller), messages...)) {
					return
				}
				published[caller] += len(messages)
			}
		})
	}
	all.Wait()
	for caller := 0; caller < callers; caller += 2 {
		stored := fixture.StoredUUIDs(t, b.Client, topic(caller))
		assert.Len(t, stored, published[caller]+published[caller+1])
		checkOrder(t, stored)
	}
}
