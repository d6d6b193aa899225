package redisstream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
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

func TestWait_replicasHaveWhatIsPublished(t *testing.T) {
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
			topic := ownTopic(t)
			publisher := openPublisher(t, redisstream.PublisherConfig{Client: client, WaitReplicas: 2, WaitTimeout: soon})
			readers := []*redis.Client{replicas[0].Client(t), replicas[1].Client(t)}
			var want []string
			for call := range 20 {
				messages := numbered(fmt.Sprintf("call %d", call), 1+call)
				require.NoError(t, publisher.Publish(topic, messages...))
				want = append(want, uuids(messages)...)
				for _, reader := range readers {
					require.EqualValues(t, len(want), reader.XLen(t.Context(), topic).Val())
				}
			}
			assert.Equal(t, want, stored(t, readers[0], topic))
		})
	}
}

// A replica that hangs: the messages are in the master's stream, and Publish says in time that they are not safe.
func TestWait_tooFewReplicas(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 2)
	client := master.Client(t, func(o *redis.Options) { o.ReadTimeout = 50 * time.Millisecond }) // shorter than WAIT takes
	topic := ownTopic(t)
	config := redisstream.PublisherConfig{Client: client, WaitReplicas: 2, WaitTimeout: 400 * time.Millisecond}
	publisher := openPublisher(t, config)
	allConfirm := func() bool { return publisher.Publish(ownTopic(t), numbered("probe", 1)...) == nil }
	require.Eventually(t, allConfirm, soon, time.Millisecond)
	replicas[0].Pause()
	messages := numbered("message", 3)
	began := time.Now()
	err := publisher.Publish(topic, messages...)
	assert.GreaterOrEqual(t, time.Since(began), config.WaitTimeout)
	assert.Less(t, time.Since(began), config.WaitTimeout+2*time.Second)
	require.ErrorIs(t, err, redisstream.ErrNotReplicated)
	require.ErrorContains(t, err, "1 of 2 in 400ms")
	assert.Equal(t, messages, asPublishError(t, err).Uncertain)
	assert.Equal(t, uuids(messages), stored(t, master.Client(t), topic))

	config.WaitReplicas = 1
	require.NoError(t, openPublisher(t, config).Publish(topic, numbered("one is enough", 1)...))

	replicas[0].Resume()
	require.Eventually(t, allConfirm, soon, time.Millisecond)
}

// What the server refuses is not added, whatever the replicas say.
func TestWait_refusedIsFailed(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	client := master.Client(t)
	topic := ownTopic(t)
	config := redisstream.PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 100 * time.Millisecond}
	publisher := openPublisher(t, config)
	require.NoError(t, client.Set(t.Context(), topic, "no stream", 0).Err())
	replicas[0].Pause()
	defer replicas[0].Resume()
	messages := numbered("message", 2)
	err := publisher.Publish(topic, messages...)
	require.ErrorContains(t, err, "WRONGTYPE")
	require.NotErrorIs(t, err, redisstream.ErrNotReplicated)
	assert.Equal(t, messages, asPublishError(t, err).Failed)
}

// The master dies before the replicas have confirmed.
func TestWait_masterDies(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	b := &bench{T: t, client: master.Client(t)}
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: master.Client(t), WaitReplicas: 1, WaitTimeout: time.Minute})
	replicas[0].Pause()
	defer replicas[0].Resume()
	messages := numbered("message", 2)
	result := publishing(publisher, ownTopic(t), messages...)
	b.eventually("waiting", func() bool {
		clients, err := b.client.Info(t.Context(), "clients").Result()
		return err == nil && strings.Contains(clients, "blocked_clients:1")
	})
	master.Kill()
	err := redistest.Within(t, "the end of Publish", result)
	assert.Equal(t, messages, asPublishError(t, err).Uncertain)
}

func TestWait_onlyWhenAsked(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	topic := ownTopic(t)
	waits := func() bool {
		return strings.Contains(client.Info(t.Context(), "commandstats").Val(), "cmdstat_wait:")
	}
	config := redisstream.PublisherConfig{Client: client}
	require.NoError(t, openPublisher(t, config).Publish(topic, numbered("message", 2)...))
	assert.False(t, waits())
	config.WaitReplicas, config.WaitTimeout = 1, time.Millisecond
	require.ErrorIs(t, openPublisher(t, config).Publish(topic, numbered("message", 2)...), redisstream.ErrNotReplicated)
	assert.True(t, waits())
}
