package redisstreamprom_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamprom"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const (
	payload = 256    // bytes, as in the comparison in benchmarks/
	backlog = 20_000 // messages of a round
)

// BenchmarkDeliver_strict compares strict delivery of a backlog without an Observer and with this
// one. Rounds with and without alternate. It reports the medians of the times, and of the ratios of
// throughput: 1 is as fast as without.
func BenchmarkDeliver_strict(b *testing.B) {
	client := redistest.Shared().Client(b)
	observers := []redisstream.Observer{nil, redisstreamprom.New(redisstreamprom.Config{})}
	topic := "bench" + watermill.NewShortUUID()
	fill(b, client, topic)
	var times [2][]float64
	var ratios []float64
	for round := 0; b.Loop(); round++ {
		var took [2]time.Duration
		for i := range observers {
			which := (i + round) % 2 // neither is always first
			took[which] = drain(b, client, topic, observers[which])
		}
		if round == 0 {
			continue // warms up
		}
		for i := range took {
			times[i] = append(times[i], float64(took[i].Nanoseconds())/backlog)
		}
		ratios = append(ratios, float64(took[0])/float64(took[1]))
	}
	b.ReportMetric(0, "ns/op")
	if len(ratios) == 0 {
		return
	}
	b.ReportMetric(median(times[0]), "ns/message:without")
	b.ReportMetric(median(times[1]), "ns/message:prometheus")
	b.ReportMetric(median(ratios), "throughput-ratio")
}

// fill adds the backlog.
func fill(b *testing.B, client redis.UniversalClient, topic string) {
	b.Helper()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, publisher.Close()) }()
	page := make([]*message.Message, 1000)
	for i := range page {
		page[i] = message.NewMessage(watermill.NewUUID(), make([]byte, payload))
	}
	for range backlog / len(page) {
		require.NoError(b, publisher.Publish(topic, page...))
	}
}

// drain acks the backlog as a new group, and returns how long that took.
func drain(b *testing.B, client redis.UniversalClient, topic string, observer redisstream.Observer) time.Duration {
	b.Helper()
	group := watermill.NewShortUUID()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: group, StartID: "0", Observer: observer,
	}, nil)
	require.NoError(b, err)
	began := time.Now()
	messages, err := subscriber.Subscribe(b.Context(), topic)
	require.NoError(b, err)
	for range backlog {
		(<-messages).Ack()
	}
	took := time.Since(began)
	require.NoError(b, subscriber.Close())
	require.NoError(b, client.XGroupDestroy(b.Context(), topic, group).Err())
	return took
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
