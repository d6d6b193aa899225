package idle

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A service has many handlers, most of which have nothing to do.
const (
	groups = 10
	topics = 100
	all    = groups * topics
)

// idleSubscriptions subscribes in all groups to all topics. Each subscription has handled messages,
// and waits for the next one.
func idleSubscriptions(b *fixture.Bench) {
	b.Helper()
	var outputs []<-chan *message.Message
	for i := range groups {
		config := redisstream.SubscriberConfig{Client: b.Client, ConsumerGroup: fmt.Sprintf("group-%d", i)}
		subscriber, err := redisstream.NewSubscriber(config, watermill.NewStdLoggerWithOut(io.Discard, false, false))
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, subscriber.Close()) })
		for j := range topics {
			output, err := subscriber.Subscribe(b.Context(), fmt.Sprintf("topic-%d", j))
			require.NoError(b, err)
			outputs = append(outputs, output)
		}
	}
	publisher := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client})
	for round := range 3 {
		for j := range topics {
			require.NoError(b, publisher.Publish(fmt.Sprintf("topic-%d", j), fixture.Numbered(fmt.Sprint(round), 1)...))
		}
		for _, output := range outputs {
			fixture.Receive(b.T, output).Ack()
		}
	}
	reads := calls(b)["xreadgroup"]
	b.Eventually("all have waited in vain", func() bool { return calls(b)["xreadgroup"] > reads+all*3/2 })
	b.Eventually("all wait for messages", func() bool { return number(b, "clients", "blocked_clients") > all*9/10 })
}

// usage is what a process uses.
type usage struct{ goroutines, live, spans, stacks int }

func measure() usage {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), int(m.HeapAlloc), int(m.HeapInuse), int(m.StackInuse)}
}

// What an idle subscription costs its process: the objects on the heap, and the stacks. The spans of
// the heap have gaps, which other objects fill; how large they are depends on the garbage collector.
func TestIdle_costOfASubscription(t *testing.T) {
	b := fixture.NewOn(t, redistest.Start(t))
	// The buffers of the pool's connections are no cost of a subscription.
	b.Client = b.Server.Client(t, func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = 2, -1 })
	b.Publish(1)
	before := measure()
	idleSubscriptions(b)
	// A worker that is not needed stays for two checks, which are 5 s apart.
	require.Eventually(t, func() bool { return runtime.NumGoroutine()-before.goroutines < all*11/10 }, time.Minute, 100*time.Millisecond,
		"each has a reader; a few write their member records")
	after := measure()
	kib := func(before, after int) float64 { return float64(after-before) / all / 1024 }
	live, stacks := kib(before.live, after.live), kib(before.stacks, after.stacks)
	t.Logf("%.2f goroutines; %.1f KiB: %.1f KiB on the heap, in spans of %.1f KiB, and %.1f KiB of stacks",
		float64(after.goroutines-before.goroutines)/all, live+stacks, live, kib(before.spans, after.spans), stacks)
	if withRaceDetector() {
		stacks /= 2
	}
	assert.LessOrEqual(t, live+stacks, 40.0)
}

// withRaceDetector reports whether the race detector is on, with which stacks are larger.
func withRaceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
