package redisstreamprom_test

import (
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A topic with partitions is one topic for the Collector: one time series for each metric.
func TestCollector_partitions(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Partitions: 3})
	for range 3 {
		require.NoError(t, publisher.Publish("orders", fixture.Numbered("m", 2)...))
	}
	for _, name := range redisstream.PartitionTopics("orders", 3) {
		require.NoError(t, client.XGroupCreate(t.Context(), name, "kitchen", "0").Err())
	}
	families := gather(t, newCollector(t, client))
	for name, want := range map[string]float64{
		"redisstream_topic_entries": 6, "redisstream_group_lag_entries": 6, "redisstream_group_lag_is_exact": 1, "redisstream_group_pending_entries": 0,
	} {
		metrics := families[name].GetMetric()
		require.Len(t, metrics, 1, name)
		assert.InDelta(t, want, metrics[0].GetGauge().GetValue(), 0, name)
		for _, label := range metrics[0].GetLabel() {
			assert.Contains(t, []string{"orders", "kitchen"}, label.GetValue())
		}
	}
}
