package exclusive

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
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
	workerVariable = "REDISSTREAM_EXCLUSIVE_WORKER"
	addrVariable   = "REDISSTREAM_EXCLUSIVE_ADDR"
)

// work is the main function of a worker process. It handles messages until it is killed.
func work(topic string) {
	config := exclusiveConfig()
	config.Client = redis.NewClient(&redis.Options{Addr: os.Getenv(addrVariable)})
	fixture.JournalWorker(config, topic, func(*message.Message) string { return topic + ":journal" })
}

// Workers are killed, or stopped for longer than their lease, while they handle messages. Every
// message is handled, in order: within a generation one after the other, and the next generation
// begins with what the last one did not finish, or with what it finished and did not acknowledge.
func TestExclusive_processesDieAndStandStill(t *testing.T) {
	t.Parallel()
	const count, rounds, workers = 12_000, 12, 3
	b := fixture.New(t)
	var running [workers]*exec.Cmd
	for i := range running {
		running[i] = startWorker(b)
	}
	stopped := -1
	for round := range rounds {
		publish(b, round*count/rounds, count/rounds)
		pause := time.Duration(rand.IntN(200)) * time.Millisecond // the worker is in the middle of it, or done
		time.Sleep(pause)
		if stopped >= 0 {
			require.NoError(t, running[stopped].Process.Signal(syscall.SIGCONT))
			stopped = -1
		}
		owner := ownerAmong(b, running[:])
		switch {
		case owner < 0:
		case round%2 == 0:
			require.NoError(t, running[owner].Process.Signal(syscall.SIGSTOP))
			stopped = owner
			active(b, b.Client.HGet(t.Context(), redisstream.OwnerKey(b.Topic, "g"), "consumer").Val())
		default:
			fixture.KillWorker(running[owner])
			running[owner] = startWorker(b)
		}
	}
	if stopped >= 0 {
		require.NoError(t, running[stopped].Process.Signal(syscall.SIGCONT))
	}
	require.Eventually(t, func() bool {
		info, err := b.Client.XInfoGroups(t.Context(), b.Topic).Result()
		return assert.NoError(t, err) && len(info) == 1 && info[0].Lag == 0 && info[0].Pending == 0
	}, time.Minute, 10*time.Millisecond, "all are acknowledged")
	inOrder(t, b, count)
	t.Log("refused by the generation:", b.Client.Get(t.Context(), fixture.NewestKey(b.Topic)+":refused").Val())
}

// ownerAmong returns the worker that is the active one; -1: none.
func ownerAmong(b *fixture.Bench, workers []*exec.Cmd) int {
	consumer := b.Client.HGet(b.Context(), redisstream.OwnerKey(b.Topic, "g"), "consumer").Val()
	record := b.Client.HGet(b.Context(), redisstream.MembersKey(b.Topic, "g"), consumer).Val()
	for i, worker := range workers {
		if strings.Contains(record, fmt.Sprintf(`"pid":%d,`, worker.Process.Pid)) {
			return i
		}
	}
	return -1
}

func startWorker(b *fixture.Bench) *exec.Cmd {
	b.Helper()
	return fixture.StartWorker(b, workerVariable+"="+b.Topic, addrVariable+"="+b.Server.Addr)
}

// inOrder checks the journal.
func inOrder(t *testing.T, b *fixture.Bench, count int) {
	t.Helper()
	var generation, last int64 = 0, -1
	furthest := int64(-1)
	for line, text := range b.Client.LRange(t.Context(), b.Topic+":journal", 0, -1).Val() {
		var of, n int64
		_, err := fmt.Sscan(text, &of, &n)
		require.NoError(t, err)
		if of == generation {
			require.Equal(t, last+1, n, "line %d", line)
		} else {
			require.LessOrEqual(t, n, furthest+1, "line %d: the first of a generation", line)
		}
		generation, last, furthest = of, n, max(furthest, n)
	}
	assert.EqualValues(t, count-1, furthest)
}

// publish publishes messages with the numbers from first on.
func publish(b *fixture.Bench, first, n int) {
	b.Helper()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
	require.NoError(b, err)
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewUUID(), []byte(strconv.Itoa(first+i)))
	}
	require.NoError(b, publisher.Publish(b.Topic, messages...))
}
