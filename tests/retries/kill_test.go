package retries

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// workerVariable is set in the environment of a worker process: its topic. addrVariable is the
// server.
const (
	workerVariable = "REDISSTREAM_RETRY_WORKER"
	addrVariable   = "REDISSTREAM_RETRY_ADDR"
)

// failures is how often each message fails.
const failures = 2

// work is the main function of a worker process. It handles messages until it is killed.
func work(topic string) {
	client := redis.NewClient(&redis.Options{Addr: os.Getenv(addrVariable)})
	config := shortLease()
	config.Client, config.MaxInFlight = client, 8
	subscriber, err := redisstream.NewSubscriber(config, nil)
	if err != nil {
		panic(err)
	}
	messages, err := subscriber.Subscribe(context.Background(), topic)
	if err != nil {
		panic(err)
	}
	for range config.MaxInFlight {
		go func() {
			for msg := range messages {
				handle(client, topic, msg)
			}
		}()
	}
	select {}
}

func handle(client *redis.Client, topic string, msg *message.Message) {
	ctx := context.Background()
	now := time.Now().UnixMilli()
	due, _ := client.HGet(ctx, topic+":due", msg.UUID).Int64() // 0 if missing
	if now < due {
		client.Incr(ctx, topic+":early")
	}
	failed, err := client.HIncrBy(ctx, topic+":failures", msg.UUID, 1).Result()
	if err != nil || failed > failures {
		msg.Ack()
		return
	}
	wait := time.Duration(rand.IntN(600)) * time.Millisecond // in memory, or in the queue
	due = time.Now().Add(wait).UnixMilli()
	redisstream.RetryOutOfOrder(msg, wait)
	msg.Nack()
	if wait > shortLease().ClaimMinIdle/2 {
		due = 0 // it may come when its lease is over, if this process dies before the server has the retry
	}
	client.HSet(ctx, topic+":due", msg.UUID, due)
	if rand.IntN(50) == 0 { // at the worst moment
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

func startWorker(b *fixture.Bench) *exec.Cmd {
	b.Helper()
	return fixture.StartWorker(b, workerVariable+"="+b.Topic, addrVariable+"="+b.Server.Addr)
}

// Workers are killed while messages go into the retry queue and come out of it. Each message fails
// as often as it should and is handled. None comes too early that waits in memory.
func TestRetryQueue_workersDie(t *testing.T) {
	t.Parallel()
	const count, workers = 400, 3
	b := fixture.New(t)
	require.NoError(t, b.Client.XGroupCreateMkStream(t.Context(), b.Topic, "g", "0").Err())
	publishWithMetadata(b, count)
	var running [workers]*exec.Cmd
	for i := range running {
		running[i] = startWorker(b)
	}
	queue := redisstream.RetryQueueKey(b.Topic, "g")
	deadline := time.Now().Add(time.Minute)
	for round := 0; ; round++ {
		handled := b.Client.HLen(t.Context(), b.Topic+":failures").Val()
		if handled == count && b.Pending() == 0 && b.Client.Exists(t.Context(), queue, queue+":entries").Val() == 0 {
			break
		}
		require.True(t, time.Now().Before(deadline), "%d handled, %d pending, %d in the queue", handled, b.Pending(), queued(b))
		time.Sleep(100 * time.Millisecond)
		fixture.KillWorker(running[round%workers])
		running[round%workers] = startWorker(b)
	}
	for uuid, text := range b.Client.HGetAll(t.Context(), b.Topic+":failures").Val() {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		assert.Greater(t, n, failures, uuid)
	}
	assert.Zero(t, b.Client.Exists(t.Context(), b.Topic+":early").Val(), "none came too early")
}
