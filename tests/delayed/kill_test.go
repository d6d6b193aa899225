package delayed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// workerEnv is set in a worker process: the server's address, the topic, and the file for what it
// handles.
const workerEnv = "REDISSTREAM_DELAYED_WORKER"

// work is the main of a worker process, until it is killed. It writes each message's UUID, and how
// late it is in ns.
func work(config string) {
	words := strings.Fields(config)
	client := redis.NewClient(&redis.Options{Addr: words[0]})
	out, err := os.OpenFile(words[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: "g", ClaimMinIdle: 500 * time.Millisecond, ClaimInterval: 100 * time.Millisecond,
	}, nil)
	if err != nil {
		panic(err)
	}
	messages, err := subscriber.Subscribe(context.Background(), words[1])
	if err != nil {
		panic(err)
	}
	for msg := range messages {
		entry, _ := redisstream.EntryFromContext(msg.Context())
		if _, err := fmt.Fprintln(out, msg.UUID, entry.ID, entry.Deliveries); err != nil {
			panic(err)
		}
		msg.Ack()
	}
}

// startWorker starts a worker process.
func startWorker(t *testing.T, addr, topic, file string) *exec.Cmd {
	t.Helper()
	process := exec.CommandContext(context.Background(), os.Args[0])
	process.Env = append(os.Environ(), workerEnv+"="+addr+" "+topic+" "+file)
	process.Stdout, process.Stderr = os.Stdout, os.Stderr
	require.NoError(t, process.Start())
	return process
}

// kill ends a process as a crash would.
func kill(process *exec.Cmd) {
	_ = process.Process.Signal(syscall.SIGKILL)
	_ = process.Wait()
}

// Many messages with random delays, and subscribers that are killed and replaced: each message is
// moved once, none early, and hardly any late.
func TestDelayed_subscribersAreKilled(t *testing.T) {
	t.Parallel()
	const total, longest = 10_000, 10 * time.Second
	b := fixture.New(t)
	addr := b.Client.Options().Addr
	file := filepath.Join(t.TempDir(), "handled")
	require.NoError(t, b.Client.XGroupCreateMkStream(t.Context(), b.Topic, "g", "0").Err())
	workers := make([]*exec.Cmd, 3)
	for i := range workers {
		workers[i] = startWorker(t, addr, b.Topic, file)
	}
	t.Cleanup(func() {
		for _, worker := range workers {
			kill(worker)
		}
	})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	due := map[string]time.Time{}
	for i := range total / 100 {
		batch := make([]*message.Message, 100)
		for j := range batch {
			wait := rand.N(longest)
			batch[j] = message.NewMessage(fmt.Sprint(i, "-", j), nil)
			delay.Message(batch[j], delay.For(wait))
			due[batch[j].UUID] = time.Now().Add(wait)
		}
		require.NoError(t, publisher.Publish(b.Topic, batch...))
	}
	for end := time.Now().Add(longest); time.Now().Before(end); {
		time.Sleep(time.Second) // that is the fault: one is killed each second
		victim := rand.N(len(workers))
		kill(workers[victim])
		workers[victim] = startWorker(t, addr, b.Topic, file)
	}
	b.Eventually("all are moved", func() bool { return b.Len() == total })
	b.Eventually("all are handled", func() bool {
		pending, err := b.Client.XInfoGroups(t.Context(), b.Topic).Result()
		return err == nil && pending[0].Pending == 0 && pending[0].Lag == 0
	})
	late := make([]time.Duration, 0, total)
	entries, err := b.Client.XRange(t.Context(), b.Topic, "-", "+").Result()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, entry := range entries {
		uuid, _ := entry.Values["_watermill_message_uuid"].(string)
		assert.False(t, seen[uuid], "%s was moved twice", uuid)
		seen[uuid] = true
		late = append(late, movedAt(t, entry.ID).Sub(due[uuid]))
	}
	slices.Sort(late)
	t.Logf("late: earliest %s, median %s, p99 %s, most %s", late[0], late[total/2], late[total*99/100], late[total-1])
	assert.Greater(t, late[0], -2*time.Millisecond, "an ID has whole milliseconds")
	assert.Less(t, late[total*99/100], time.Second, "see docs/delayed.md for figures")
	handled, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.Lines(string(handled)) {
		delete(due, strings.Fields(line)[0])
	}
	assert.Empty(t, due, "not handled")
}

// movedAt returns the time in an entry's ID.
func movedAt(t *testing.T, id string) time.Time {
	t.Helper()
	var ms, n int64
	_, err := fmt.Sscanf(id, "%d-%d", &ms, &n)
	require.NoError(t, err)
	return time.UnixMilli(ms)
}
