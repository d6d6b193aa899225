package members

import (
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
// server.
const (
	workerVariable = "REDISSTREAM_MEMBERS_WORKER"
	addrVariable   = "REDISSTREAM_MEMBERS_ADDR"
)

// work is the main function of a worker process. It handles messages until it is killed.
func work(topic string) {
	config := memberConfig()
	config.Client = redis.NewClient(&redis.Options{Addr: os.Getenv(addrVariable)})
	fixture.JournalWorker(config, topic, func(msg *message.Message) string { return topic + ":journal:" + keyOf(msg) })
}

func startWorker(b *fixture.Bench) *exec.Cmd {
	b.Helper()
	return fixture.StartWorker(b, workerVariable+"="+b.Topic, addrVariable+"="+b.Server.Addr)
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
