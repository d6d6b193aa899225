package members

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
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
// server. If joinVariable is set, the worker stands still when it has acquired a partition, before its
// consumer joins the group.
const (
	workerVariable = "REDISSTREAM_MEMBERS_WORKER"
	addrVariable   = "REDISSTREAM_MEMBERS_ADDR"
	joinVariable   = "REDISSTREAM_MEMBERS_NEVER_JOINS"
)

// neverJoins is a hook of a client whose consumers never join a group.
type neverJoins struct{ redis.Hook }

// ProcessHook implements redis.Hook.
func (neverJoins) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if args := command.Args(); args[0] == "xgroup" && args[1] == "createconsumer" {
			select {} // until the process is killed
		}
		return next(ctx, command)
	}
}

// DialHook implements redis.Hook.
func (neverJoins) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (neverJoins) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// work is the main function of a worker process. It handles messages until it is killed.
func work(topic string) {
	config := memberConfig()
	client := redis.NewClient(&redis.Options{Addr: os.Getenv(addrVariable)})
	if os.Getenv(joinVariable) != "" {
		client.AddHook(neverJoins{})
	}
	config.Client = client
	fixture.JournalWorker(config, topic, func(msg *message.Message) string { return topic + ":journal:" + keyOf(msg) })
}

func startWorker(b *fixture.Bench, variables ...string) *exec.Cmd {
	b.Helper()
	return fixture.StartWorker(b, append(variables, workerVariable+"="+b.Topic, addrVariable+"="+b.Server.Addr)...)
}

// Processes are killed, or stopped for longer than their lease, while they handle messages. Every
// message is handled, and those of a key in order: what is repeated is what was not acknowledged.
func TestMembers_processesDieAndStandStill(t *testing.T) {
	t.Parallel()
	const keys, workers, rounds = 50, 3, 4
	b := fixture.New(t)
	var running [workers]*exec.Cmd
	for i := range running {
		running[i] = startWorker(b)
	}
	awaitAllOwned(b)
	published := 0
	for round := range rounds {
		victim := running[round%workers]
		publish(b, keys, published, 20)
		published += 20
		b.Eventually("it works", func() bool { return handledBy(b, victim) })
		if round%2 == 0 {
			require.NoError(t, victim.Process.Signal(syscall.SIGSTOP))
		} else {
			fixture.KillWorker(victim)
			running[round%workers] = startWorker(b)
		}
		publish(b, keys, published, 20)
		published += 20
		awaitHandled(b, keys, published)
		if round%2 == 0 {
			require.NoError(t, victim.Process.Signal(syscall.SIGCONT))
		}
	}
	for key := range keys {
		furthest := -1
		for place, text := range b.Client.LRange(t.Context(), fmt.Sprintf("%s:journal:%d", b.Topic, key), 0, -1).Val() {
			var generation, number int
			_, err := fmt.Sscan(text, &generation, &number)
			require.NoError(t, err)
			require.LessOrEqual(t, number, furthest+1, "key %d, line %d: a gap", key, place)
			furthest = max(furthest, number)
		}
		assert.Equal(t, published-1, furthest, "key %d", key)
	}
	b.Eventually("all are acknowledged", func() bool {
		for _, name := range redisstream.PartitionTopics(b.Topic, partitions) {
			if b.Client.XPending(t.Context(), name, "g").Val().Count > 0 {
				return false
			}
		}
		return true
	})
}

// handledBy reports whether a process has handled a message.
func handledBy(b *fixture.Bench, worker *exec.Cmd) bool {
	for _, name := range redisstream.PartitionTopics(b.Topic, partitions) {
		if b.Client.Exists(b.Context(), fmt.Sprintf("%s:by:%d", fixture.NewestKey(name), worker.Process.Pid)).Val() > 0 {
			return true
		}
	}
	return false
}

// awaitHandled waits until the first n messages of each key are handled.
func awaitHandled(b *fixture.Bench, keys, n int) {
	b.Helper()
	require.Eventually(b, func() bool {
		for key := range keys {
			last := b.Client.LRange(b.Context(), fmt.Sprintf("%s:journal:%d", b.Topic, key), -1, -1).Val()
			if len(last) == 0 || !strings.HasSuffix(last[0], fmt.Sprint(" ", n-1)) {
				return false
			}
		}
		return true
	}, 30*time.Second, 20*time.Millisecond, "all are handled")
}

// A process dies when it owns all partitions, and its consumers have not joined the group. Another
// member goes on when the leases have ended.
func TestMembers_diesBeforeItJoins(t *testing.T) {
	t.Parallel()
	b, j := fixture.New(t), &journal{}
	dies := startWorker(b, joinVariable+"=yes")
	awaitAllOwned(b)
	before := owners(b)
	publish(b, flowKeys, 0, 1)
	assert.Empty(t, b.Client.XInfoConsumers(t.Context(), redisstream.PartitionTopic(b.Topic, 0, partitions), "g").Val())
	fixture.KillWorker(dies)
	killed := time.Now()
	j.consume(b, 1, memberConfig(), nil)
	finished(b, j, 1)
	assert.Less(t, time.Since(killed), gapLimit)
	for i, name := range owners(b) {
		assert.NotEqual(t, before[i], name, "partition %d", i)
	}
	assert.Equal(t, flowKeys, j.count())
}
