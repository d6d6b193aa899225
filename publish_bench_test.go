package redisstream_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

// BenchmarkPublish_idempotent compares plain publishing with that of an Idempotent Publisher, by XADD
// IDMP where the server has it and by the script. The rounds of the three alternate. It reports the
// medians of their times, and of the ratios to plain publishing.
func BenchmarkPublish_idempotent(b *testing.B) {
	for _, load := range []struct{ callers, messages, calls int }{{1, 1, 1000}, {16, 1, 200}, {1, 100, 60}} {
		b.Run(fmt.Sprintf("%d callers of %d", load.callers, load.messages), func(b *testing.B) {
			client := redistest.Shared().Client(b)
			redisstream.EnableBusyPolling(client)
			open := func(config redisstream.PublisherConfig) *redisstream.Publisher {
				config.Client = client
				publisher, err := redisstream.NewPublisher(config, nil)
				require.NoError(b, err)
				b.Cleanup(func() { require.NoError(b, publisher.Close()) })
				return publisher
			}
			// A stream whose window is not the default's gets the script.
			scripted := "script" + watermill.NewShortUUID()
			_ = client.Do(b.Context(), "xadd", scripted, "*", "a", "b")
			_ = client.Do(b.Context(), "xcfgset", scripted, "idmp-maxsize", 99)
			ways := []struct {
				name, topic string
				publisher   *redisstream.Publisher
			}{
				{"plain", "plain" + watermill.NewShortUUID(), open(redisstream.PublisherConfig{MaxLen: 10_000})},
				{"idmp", "idmp" + watermill.NewShortUUID(), open(redisstream.PublisherConfig{MaxLen: 10_000, Idempotent: true})},
				{"script", scripted, open(redisstream.PublisherConfig{MaxLen: 10_000, Idempotent: true})},
			}
			times, ratios := map[string][]float64{}, map[string][]float64{}
			round := func() map[string]time.Duration {
				took := map[string]time.Duration{}
				for _, way := range ways {
					began := time.Now()
					publishInParallel(b, way.publisher, way.topic, load.callers, load.messages, load.calls)
					took[way.name] = time.Since(began)
				}
				return took
			}
			round()
			for b.Loop() {
				took := round()
				for name, t := range took {
					times[name] = append(times[name], float64(t.Nanoseconds())/float64(load.callers*load.calls*load.messages))
					ratios[name] = append(ratios[name], float64(t)/float64(took["plain"]))
				}
			}
			b.ReportMetric(0, "ns/op")
			for name := range times {
				b.ReportMetric(median(times[name]), "ns/message:"+name)
				b.ReportMetric(median(ratios[name]), "ratio:"+name)
			}
		})
	}
}

func publishInParallel(b *testing.B, publisher *redisstream.Publisher, topic string, callers, messages, calls int) {
	b.Helper()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			list := make([]*message.Message, messages)
			for i := range list {
				list[i] = message.NewMessage(watermill.NewUUID(), make([]byte, benchmarkPayload))
			}
			for range calls {
				if err := publisher.Publish(topic, list...); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
