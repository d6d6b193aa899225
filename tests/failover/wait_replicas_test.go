package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replicated starts a master with replicas.
func replicated(t *testing.T, n int) (master *redistest.Server, replicas []*redistest.Server) {
	t.Helper()
	master = redistest.Start(t, "--repl-diskless-sync-delay", "0")
	for range n {
		replicas = append(replicas, redistest.StartReplica(t, master))
	}
	return master, replicas
}

func TestWaitReplicas_replicasHaveWhatIsPublished(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 2)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": master.Addr}})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	for name, client := range map[string]redis.UniversalClient{
		"client":   master.Client(t),
		"embedded": struct{ *redis.Client }{master.Client(t)},
		"ring":     ring,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := fixture.NewTopic(t)
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: 2, WaitTimeout: fixture.Soon})
			readers := []*redis.Client{replicas[0].Client(t), replicas[1].Client(t)}
			var want []string
			for call := range 20 {
				messages := fixture.Numbered(fmt.Sprintf("call %d", call), 1+call)
				require.NoError(t, publisher.Publish(topic, messages...))
				want = append(want, fixture.UUIDs(messages)...)
				for _, reader := range readers {
					require.EqualValues(t, len(want), reader.XLen(t.Context(), topic).Val())
				}
			}
			assert.Equal(t, want, fixture.StoredUUIDs(t, readers[0], topic))
		})
	}
}

// One replica hangs. The messages are in the master's stream, and Publish reports within
// WaitTimeout that too few replicas have them.
func TestWaitReplicas_tooFewReplicas(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 2)
	client := master.Client(t, func(o *redis.Options) { o.ReadTimeout = 50 * time.Millisecond }) // shorter than WAIT takes
	topic := fixture.NewTopic(t)
	config := redisstream.PublisherConfig{Client: client, WaitReplicas: 2, WaitTimeout: 400 * time.Millisecond}
	publisher := fixture.OpenPublisher(t, config)
	allConfirm := func() bool { return publisher.Publish(fixture.NewTopic(t), fixture.Numbered("probe", 1)...) == nil }
	require.Eventually(t, allConfirm, fixture.Soon, time.Millisecond)
	replicas[0].Pause()
	messages := fixture.Numbered("message", 3)
	began := time.Now()
	err := publisher.Publish(topic, messages...)
	assert.GreaterOrEqual(t, time.Since(began), config.WaitTimeout)
	assert.Less(t, time.Since(began), config.WaitTimeout+2*time.Second)
	require.ErrorIs(t, err, redisstream.ErrNotReplicated)
	require.ErrorContains(t, err, "1 of 2 in 400ms")
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Uncertain)
	assert.Equal(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, master.Client(t), topic))

	config.WaitReplicas = 1
	require.NoError(t, fixture.OpenPublisher(t, config).Publish(topic, fixture.Numbered("one is enough", 1)...))

	replicas[0].Resume()
	require.Eventually(t, allConfirm, fixture.Soon, time.Millisecond)
}

// A message that the server refuses is Failed, not Uncertain, although too few replicas confirm.
func TestWaitReplicas_refusedIsFailed(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	client := master.Client(t)
	topic := fixture.NewTopic(t)
	config := redisstream.PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 100 * time.Millisecond}
	publisher := fixture.OpenPublisher(t, config)
	require.NoError(t, client.Set(t.Context(), topic, "no stream", 0).Err())
	replicas[0].Pause()
	defer replicas[0].Resume()
	messages := fixture.Numbered("message", 2)
	err := publisher.Publish(topic, messages...)
	require.ErrorContains(t, err, "WRONGTYPE")
	require.NotErrorIs(t, err, redisstream.ErrNotReplicated)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
}

// The master dies before the replicas confirm.
func TestWaitReplicas_masterDies(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	b := &fixture.Bench{T: t, Client: master.Client(t)}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: master.Client(t), WaitReplicas: 1, WaitTimeout: time.Minute})
	replicas[0].Pause()
	defer replicas[0].Resume()
	messages := fixture.Numbered("message", 2)
	result := fixture.GoPublish(publisher, fixture.NewTopic(t), messages...)
	b.Eventually("waiting", func() bool {
		clients, err := b.Client.Info(t.Context(), "clients").Result()
		return err == nil && strings.Contains(clients, "blocked_clients:1")
	})
	master.Kill()
	err := redistest.Within(t, "the end of Publish", result)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Uncertain)
}

func TestWaitReplicas_onlyWhenConfigured(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	topic := fixture.NewTopic(t)
	waits := func() bool {
		return strings.Contains(client.Info(t.Context(), "commandstats").Val(), "cmdstat_wait:")
	}
	config := redisstream.PublisherConfig{Client: client}
	require.NoError(t, fixture.OpenPublisher(t, config).Publish(topic, fixture.Numbered("message", 2)...))
	assert.False(t, waits())
	config.WaitReplicas, config.WaitTimeout = 1, time.Millisecond
	require.ErrorIs(t, fixture.OpenPublisher(t, config).Publish(topic, fixture.Numbered("message", 2)...), redisstream.ErrNotReplicated)
	assert.True(t, waits())
}

// When too few replicas have one part of a call, the rest is not sent: each further part would wait
// as long.
func TestWaitReplicas_theRestOfACallIsNotSent(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	client := master.Client(t)
	topic := fixture.NewTopic(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 5 * time.Second})
	messages := fixture.Heavy("m", 10, 100_000)
	require.NoError(t, publisher.Publish(topic, messages...))
	require.NoError(t, publisher.Publish(topic, fixture.Heavy("long", 2, 1_500_000)...))
	require.NoError(t, publisher.Close())

	publisher = fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 100 * time.Millisecond})
	replicas[0].Pause()
	defer replicas[0].Resume()
	err := publisher.Publish(topic, messages...)
	require.ErrorIs(t, err, redisstream.ErrNotReplicated)
	failure := fixture.AsPublishError(t, err)
	assert.Equal(t, fixture.UUIDs(messages[:1]), fixture.UUIDs(failure.Uncertain))
	assert.Equal(t, fixture.UUIDs(messages[1:]), fixture.UUIDs(failure.Failed))
	assert.EqualValues(t, 10+2+1, client.XLen(t.Context(), topic).Val())
}
