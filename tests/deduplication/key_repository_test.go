package deduplication

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var _ middleware.ExpiringKeyRepository = (*redisstream.KeyRepository)(nil)

// repository returns a KeyRepository with keys of its own on the Bench's server.
func repository(b *fixture.Bench, window time.Duration) *redisstream.KeyRepository {
	b.Helper()
	r, err := redisstream.NewKeyRepository(redisstream.KeyRepositoryConfig{Client: b.Client, Prefix: b.Topic + ":", Window: window})
	require.NoError(b, err)
	return r
}

// isDuplicate returns the answer of a repository that must not fail.
func isDuplicate(ctx context.Context, tb testing.TB, r *redisstream.KeyRepository, key string) bool {
	tb.Helper()
	duplicate, err := r.IsDuplicate(ctx, key)
	require.NoError(tb, err)
	return duplicate
}

func TestKeyRepository_firstOfTwoClientsWins(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	first, second := repository(b, time.Minute), repository(&fixture.Bench{T: t, Client: b.Server.Client(t), Topic: b.Topic}, time.Minute)
	assert.False(t, isDuplicate(t.Context(), t, first, "a"))
	assert.True(t, isDuplicate(t.Context(), t, second, "a"))
	assert.True(t, isDuplicate(t.Context(), t, first, "a"))
	assert.False(t, isDuplicate(t.Context(), t, second, "b"))
	ttl := b.Client.PTTL(t.Context(), b.Topic+":a").Val()
	assert.Positive(t, ttl)
	assert.LessOrEqual(t, ttl, time.Minute)
}

func TestKeyRepository_keysExpire(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	r := repository(b, 100*time.Millisecond)
	began := time.Now()
	assert.False(t, isDuplicate(t.Context(), t, r, "a"))
	b.Eventually("expired", func() bool { return !isDuplicate(t.Context(), t, r, "a") })
	assert.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond, "a duplicate does not prolong the window")
}

func TestKeyRepository_manyAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	repositories := []*redisstream.KeyRepository{repository(b, time.Minute), repository(&fixture.Bench{T: t, Client: b.Server.Client(t), Topic: b.Topic}, time.Minute)}
	var winners [20]atomic.Int64
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			duplicate, err := repositories[i%2].IsDuplicate(t.Context(), fmt.Sprint(i%20))
			if assert.NoError(t, err) && !duplicate {
				winners[i%20].Add(1)
			}
		})
	}
	all.Wait()
	for i := range winners {
		assert.EqualValues(t, 1, winners[i].Load())
	}
}

// The key belongs to the entry: its redelivery is no duplicate, but another entry is. Each group
// has keys of its own.
func TestKeyRepository_redeliveryIsNoDuplicate(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	r := repository(b, time.Minute)
	in := func(group, id string) context.Context {
		return redisstream.ContextWithEntry(t.Context(), redisstream.Entry{Stream: b.Topic, ID: id, Group: group})
	}
	assert.False(t, isDuplicate(in("g", "1-0"), t, r, "a"))
	assert.False(t, isDuplicate(in("g", "1-0"), t, r, "a"), "the same entry again")
	assert.True(t, isDuplicate(in("g", "2-0"), t, r, "a"))
	assert.False(t, isDuplicate(in("other", "2-0"), t, r, "a"), "another group")
	assert.EqualValues(t, 1, b.Client.Exists(t.Context(), b.Topic+":g:a").Val())
}

// A message that fails or whose process dies is not lost: with keys that forget who had them, its
// redelivery would be dropped as a duplicate.
func TestKeyRepository_deduplicator(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.FastClaimConfig()
	config.NackBackoff = func(int) time.Duration { return 0 }
	r := repository(b, time.Minute)
	deduplicator := &middleware.Deduplicator{
		KeyFactory: func(msg *message.Message) (string, error) { return msg.UUID, nil }, Repository: r, Timeout: fixture.Soon,
	}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	for range 2 {
		require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 10)...))
	}
	dead := b.ReadAs("dead", 1)[0] // its process died after it had asked
	require.False(t, isDuplicate(redisstream.ContextWithEntry(t.Context(), redisstream.Entry{Stream: b.Topic, ID: dead.ID, Group: "g"}), t, r, "m-0"))
	b.SetIdle("dead", []redis.XMessage{dead}, time.Hour)
	var log redistest.Log
	router := fixture.NewRouter(t, message.RouterConfig{}, &log)
	router.AddMiddleware(deduplicator.Middleware)
	var mu sync.Mutex
	handled := map[string]int{}
	router.AddConsumerHandler("h", b.Topic, b.Subscriber(config), func(msg *message.Message) error {
		if entry := fixture.EntryOf(t, msg); entry.Deliveries == 1 {
			return fmt.Errorf("out of milk for %s", msg.UUID)
		}
		mu.Lock()
		defer mu.Unlock()
		handled[msg.UUID]++
		return nil
	})
	fixture.RunRouter(t, router)
	b.Eventually("all are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(handled) == 10 && b.Pending() == 0
	})
	for uuid, n := range handled {
		assert.Equal(t, 1, n, uuid)
	}
}

// go-redis repeats the command when its reply is lost. It finds its own key then.
func TestKeyRepository_lostReply(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	b.Client = b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	r := repository(b, time.Minute)
	require.False(t, isDuplicate(t.Context(), t, r, "first"))
	var asked atomic.Bool
	proxy.OnSend(func(chunk []byte) (int, bool) { asked.Store(true); return len(chunk), false })
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if asked.Load() {
			proxy.OnReply(nil)
			return 0, true
		}
		return len(chunk), false
	})
	assert.False(t, isDuplicate(t.Context(), t, r, "a"))
	assert.True(t, isDuplicate(t.Context(), t, r, "a"))
}

func TestKeyRepository_errors(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for field, config := range map[string]redisstream.KeyRepositoryConfig{
		"KeyRepositoryConfig.Client": {Window: time.Minute},
		"KeyRepositoryConfig.Window": {Client: b.Client, Window: time.Microsecond},
	} {
		_, err := redisstream.NewKeyRepository(config)
		require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
		require.ErrorContains(t, err, field)
	}
	r := repository(b, time.Minute)
	_, err := r.IsDuplicate(t.Context(), "")
	require.ErrorContains(t, err, "key is empty")
	b.Do("LPUSH", b.Topic+":list", "a")
	_, err = r.IsDuplicate(t.Context(), "list")
	require.ErrorContains(t, err, "WRONGTYPE")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.IsDuplicate(ended, "a")
	require.ErrorIs(t, err, context.Canceled)
}
