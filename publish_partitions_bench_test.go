package redisstream_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// BenchmarkPublish_partitions compares what a message costs this process: without partitions, and with
// 1, 3, 6 and 12. The rounds of all alternate. It reports the median time and CPU time of this process
// for a message, their ratios to publishing without partitions, and the allocations.
func BenchmarkPublish_partitions(b *testing.B) {
	b.Run("one server", func(b *testing.B) { benchmarkPartitions(b, redistest.Shared().Client(b)) })
	b.Run("cluster", func(b *testing.B) {
		benchmarkPartitions(b, redistest.StartMasters(b, [3]time.Duration{}).Client(b))
	})
}

func benchmarkPartitions(b *testing.B, client redis.UniversalClient) {
	b.Helper()
	type way struct {
		name, topic string
		publisher   *redisstream.Publisher
	}
	var ways []way
	for _, partitions := range []int{0, 1, 3, 6, 12} {
		config := redisstream.PublisherConfig{Client: client, MaxLen: 10_000, Partitions: partitions}
		if partitions > 0 {
			config.PartitionKey = func(msg *message.Message) string { return msg.UUID }
		}
		publisher, err := redisstream.NewPublisher(config, nil)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, publisher.Close()) })
		ways = append(ways, way{fmt.Sprint("n=", partitions), fmt.Sprint("n", partitions, watermill.NewShortUUID()), publisher})
	}
	for _, load := range []struct{ callers, messages, calls int }{{1, 1, 1000}, {64, 1, 100}, {256, 1, 50}, {1, 100, 60}, {1, 1000, 10}, {16, 100, 10}} {
		b.Run(fmt.Sprintf("%d callers of %d", load.callers, load.messages), func(b *testing.B) {
			times, cpu, allocations := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
			count := float64(load.callers * load.messages * load.calls)
			for _, w := range ways {
				publishInParallel(b, w.publisher, w.topic, load.callers, load.messages, load.calls)
			}
			var before, after runtime.MemStats
			for b.Loop() {
				for _, w := range ways {
					runtime.ReadMemStats(&before)
					began, busy := time.Now(), processTime(b)
					publishInParallel(b, w.publisher, w.topic, load.callers, load.messages, load.calls)
					times[w.name] = append(times[w.name], float64(time.Since(began).Nanoseconds())/count)
					cpu[w.name] = append(cpu[w.name], float64(processTime(b)-busy)/count)
					runtime.ReadMemStats(&after)
					allocations[w.name] = append(allocations[w.name], float64(after.Mallocs-before.Mallocs)/count)
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, w := range ways {
				b.ReportMetric(median(times[w.name]), "ns:"+w.name)
				b.ReportMetric(median(cpu[w.name]), "cpu-ns:"+w.name)
				b.ReportMetric(median(allocations[w.name]), "allocs:"+w.name)
				if w.name != ways[0].name {
					b.ReportMetric(median(cpu[w.name])/median(cpu[ways[0].name]), "cpu-ratio:"+w.name)
				}
			}
		})
	}
}

// processTime returns the CPU time that this process has used.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
