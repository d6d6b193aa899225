package redisstreamprom

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of CollectorConfig.
const (
	DefaultCollectedTopics = 1000
	DefaultCollectTimeout  = 5 * time.Second
)

// CollectorConfig configures a Collector. Only Admin is required.
type CollectorConfig struct {
	// Admin asks the server. Required. Its HungAfter decides which consumers hang.
	Admin *admin.Admin

	// Topics are the topics to collect. Set it if another process collects the other topics of the
	// server. Defaults to nil: all, but at most MaxTopics.
	Topics []string

	// MaxTopics is how many topics are collected at most where Topics is nil. Each takes two round trips
	// or more at each scrape. Defaults to DefaultCollectedTopics. Negative: no limit.
	MaxTopics int

	// Timeout is how long a scrape may take. Make it shorter than Prometheus' scrape_timeout.
	// Defaults to DefaultCollectTimeout.
	Timeout time.Duration

	// OnError is called with the error of a scrape. Then redisstream_collector_up is 0, and no other
	// metric is there. Set it to log the error. Defaults to nil: the error is dropped.
	OnError func(error)
}

// Collector is a prometheus.Collector of the state of topics and consumer groups, as package admin
// sees it. It asks the server at each scrape. Register it in one process only: each process would
// return the same. A topic with partitions is one topic, whose numbers are added up.
type Collector struct {
	config CollectorConfig
	mu     sync.Mutex // one scrape at a time asks the server
}

var _ prometheus.Collector = (*Collector)(nil)

var errNoAdmin = errors.New("redisstreamprom: CollectorConfig.Admin is nil")

// NewCollector returns a Collector. The error names the field that is missing.
func NewCollector(config CollectorConfig) (*Collector, error) {
	if config.Admin == nil {
		return nil, errNoAdmin
	}
	config.MaxTopics = cmp.Or(config.MaxTopics, DefaultCollectedTopics)
	config.Timeout = cmp.Or(config.Timeout, DefaultCollectTimeout)
	return &Collector{config: config}, nil
}

var up = prometheus.NewDesc("redisstream_collector_up", "Whether the state of the topics could be read.", nil, nil)

// gauge is a metric of the things of one kind.
type gauge[T any] struct {
	desc  *prometheus.Desc
	value func(T) (value float64, known bool)
}

func newGauge[T any](name, help string, labels []string, value func(T) (float64, bool)) gauge[T] {
	return gauge[T]{prometheus.NewDesc("redisstream_"+name, help, labels, nil), value}
}

func always[T any](value func(T) float64) func(T) (float64, bool) {
	return func(of T) (float64, bool) { return value(of), true }
}

func ofTopic(name, help string, value func(admin.Topic) float64) gauge[admin.Topic] {
	return newGauge(name, help, []string{"topic"}, always(value))
}

func ofGroup(name, help string, value func(admin.Group) float64) gauge[admin.Group] {
	return newGauge(name, help, []string{"topic", "group"}, always(value))
}

var topicGauges = []gauge[admin.Topic]{
	ofTopic("topic_entries", "Entries in the topic.", func(t admin.Topic) float64 { return float64(t.Length) }),
	newGauge("topic_bytes", "Memory of the server for the stream of the topic.", []string{"topic"},
		func(t admin.Topic) (float64, bool) { return float64(t.Bytes), t.Bytes >= 0 }),
	ofTopic("topic_dead_letters", "Dead letters of the topic.", func(t admin.Topic) float64 { return float64(t.DeadLetters) }),
	ofTopic("topic_delayed_messages", "Messages that are not due yet.", func(t admin.Topic) float64 { return float64(t.Delayed) }),
}

var groupGauges = []gauge[admin.Group]{
	newGauge("group_lag_entries", "Entries that no consumer of the group has got yet, or a bound if their number is not known.",
		[]string{"topic", "group"}, func(g admin.Group) (float64, bool) { return float64(g.Lag.N), g.Lag.Exact != admin.LagUnknown }),
	ofGroup("group_lag_is_exact", "Whether redisstream_group_lag_entries is exact.",
		func(g admin.Group) float64 { return number(g.Lag.Exact == admin.LagExact) }),
	ofGroup("group_pending_entries", "Entries that were delivered and are not acknowledged.", func(g admin.Group) float64 { return float64(g.Pending) }),
	ofGroup("group_parked_messages", "Messages in the retry queue of the group.", func(g admin.Group) float64 { return float64(g.Parked) }),
	ofGroup("group_members", "Consumers that are alive.", func(g admin.Group) float64 { return float64(g.Members) }),
	ofGroup("group_hung_consumers", "Consumers with a handler that does not return.", func(g admin.Group) float64 { return float64(g.Hung) }),
	ofGroup("group_oldest_unhandled_seconds", "Age of the oldest entry that is not acknowledged.",
		func(g admin.Group) float64 { return g.OldestAge.Seconds() }),
	ofGroup("group_max_deliveries", "Highest delivery count of the oldest pending entries.",
		func(g admin.Group) float64 { return float64(g.MaxDeliveries) }),
	ofGroup("group_blocked", "Whether a message that always fails blocks others.", func(g admin.Group) float64 { return number(g.BlockedBy != "") }),
	ofGroup("group_paused", "Whether the group is paused.", func(g admin.Group) float64 { return number(g.Paused != nil) }),
	ofGroup("group_blocks_trimming", "Whether the group is the one that trimming waits for.",
		func(g admin.Group) float64 { return number(g.BlocksTrimming) }),
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Describe is part of prometheus.Collector.
func (*Collector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- up
	for _, g := range topicGauges {
		descriptions <- g.desc
	}
	for _, g := range groupGauges {
		descriptions <- g.desc
	}
}

// Collect is part of prometheus.Collector.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), c.config.Timeout)
	defer cancel()
	snapshot, err := c.config.Admin.Snapshot(ctx, max(c.config.MaxTopics, 0), c.config.Topics...)
	if err != nil && c.config.OnError != nil {
		c.config.OnError(err)
	}
	metrics <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, number(err == nil))
	for _, topic := range snapshot.Topics {
		send(metrics, topicGauges, topic.Topic, topic.Topic.Name)
		for _, group := range topic.Groups {
			send(metrics, groupGauges, group, group.Topic, group.Name)
		}
	}
}

// send sends the metrics of one thing.
func send[T any](metrics chan<- prometheus.Metric, gauges []gauge[T], of T, labels ...string) {
	for i := range labels {
		labels[i] = labelOf(labels[i])
	}
	for _, g := range gauges {
		if value, known := g.value(of); known {
			metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, labels...)
		}
	}
}
