package redisstreamprom

import (
	"sync"

	"github.com/millrace/redisstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Labels. The consumer is not a label: most names are generated, so their number has no bound.
const (
	topicLabel   = "topic"
	groupLabel   = "group"
	outcomeLabel = "outcome"
	reasonLabel  = "reason"
)

var (
	// fast are the buckets of what takes a round trip, in seconds.
	fast = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// slow are the buckets of what takes as long as handlers take and backlogs last, in seconds.
	slow = []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600}
	// counts are the buckets of the messages of a pipeline.
	counts = prometheus.ExponentialBuckets(1, 2, 13)
)

// metrics are all metrics, with a child for each value of their labels.
type metrics struct {
	published       *prometheus.CounterVec
	publishedBytes  *prometheus.CounterVec
	publishDuration *prometheus.HistogramVec
	batch           *prometheus.HistogramVec

	delivered     *prometheus.CounterVec
	redelivered   *prometheus.CounterVec
	delay         *prometheus.HistogramVec
	handler       *prometheus.HistogramVec
	acked         *prometheus.CounterVec
	nacked        *prometheus.CounterVec
	takenOver     *prometheus.CounterVec
	leasesLost    *prometheus.CounterVec
	deadLettered  *prometheus.CounterVec
	parked        *prometheus.CounterVec
	trimmedUnread *prometheus.CounterVec
	heldEntries   *prometheus.GaugeVec
	heldBytes     *prometheus.GaugeVec
	reconnects    *prometheus.CounterVec
	closeDuration *prometheus.HistogramVec

	all []prometheus.Collector
}

// newMetrics creates the metrics. docs/metrics.md has the same names and texts; a test compares
// them.
func newMetrics() (m metrics) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "redisstream", Name: name, Help: help}, labels)
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "redisstream", Name: name, Help: help}, labels)
		m.all = append(m.all, g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "redisstream", Name: name, Help: help, Buckets: buckets}, labels)
		m.all = append(m.all, h)
		return h
	}
	m.published = counter("published_messages_total", "Messages of calls of Publish, by outcome.", topicLabel, outcomeLabel)
	m.publishedBytes = counter("published_bytes_total", "Bytes of the fields of published messages.", topicLabel)
	m.publishDuration = histogram("publish_duration_seconds", "Duration of calls of Publish.", fast, topicLabel)
	m.batch = histogram("publish_batch_messages", "Messages of one pipeline.", counts, topicLabel)

	m.delivered = counter("delivered_messages_total", "Messages that handlers received.", topicLabel, groupLabel)
	m.redelivered = counter("redelivered_messages_total", "Messages that handlers received again.", topicLabel, groupLabel)
	m.delay = histogram("delivery_delay_seconds", "Time from the entry's ID to its first delivery.", slow, topicLabel, groupLabel)
	m.handler = histogram("handler_duration_seconds", "Time from the delivery to the ack or nack.", slow, topicLabel, groupLabel)
	m.acked = counter("acked_messages_total", "Entries that the server acknowledged.", topicLabel, groupLabel)
	m.nacked = counter("nacked_messages_total", "Messages that handlers nacked.", topicLabel, groupLabel)
	m.takenOver = counter("taken_over_entries_total", "Entries claimed from idle consumers.", topicLabel, groupLabel)
	m.leasesLost = counter("lost_leases_total", "Entries that were lost to another consumer while they were held.", topicLabel, groupLabel)
	m.deadLettered = counter("dead_lettered_messages_total", "Entries that became dead letters, by reason.", topicLabel, groupLabel, reasonLabel)
	m.parked = counter("parked_messages_total", "Entries put into the retry queue of the group.", topicLabel, groupLabel)
	m.trimmedUnread = counter("trimmed_unread_entries_total", "Entries dropped from the stream before they were read.", topicLabel, groupLabel)
	m.heldEntries = gauge("read_ahead_entries", "Entries that subscriptions hold.", topicLabel, groupLabel)
	m.heldBytes = gauge("read_ahead_bytes", "Bytes of the entries that subscriptions hold.", topicLabel, groupLabel)
	m.reconnects = counter("reconnects_total", "Connections of subscriptions that were opened again.", topicLabel, groupLabel)
	m.closeDuration = histogram("close_duration_seconds", "Time that the end of a subscription or Publisher took.", slow, topicLabel, groupLabel)
	return m
}

// publisher has the children of a topic.
type publisher struct {
	published, failed, uncertain, bytes prometheus.Counter
	duration, batch                     prometheus.Observer
}

func (m *metrics) publisher(topic string) *publisher {
	topic = labelOf(topic)
	return &publisher{
		published: m.published.WithLabelValues(topic, "published"),
		failed:    m.published.WithLabelValues(topic, "failed"),
		uncertain: m.published.WithLabelValues(topic, "uncertain"),
		bytes:     m.publishedBytes.WithLabelValues(topic),
		duration:  m.publishDuration.WithLabelValues(topic),
		batch:     m.batch.WithLabelValues(topic),
	}
}

// subscription has the children of a topic and a group.
type subscription struct {
	topic, group string

	delivered, redelivered, acked, nacked                    prometheus.Counter
	takenOver, leasesLost, parked, trimmedUnread, reconnects prometheus.Counter
	deadLettered                                             map[redisstream.DeadLetterReason]prometheus.Counter
	delay, handler, closeDuration                            prometheus.Observer
	heldEntries, heldBytes                                   prometheus.Gauge

	mu   sync.Mutex
	held map[holder]held // what makes up the gauges
}

// holder is one subscription; topic and group differ only among those that share Overflow.
type holder = redisstream.Subscription

type held struct{ entries, bytes int }

func (m *metrics) subscription(topic, group string) *subscription {
	s := &subscription{topic: topic, group: group, held: map[holder]held{}, deadLettered: map[redisstream.DeadLetterReason]prometheus.Counter{}}
	topic, group = labelOf(topic), labelOf(group)
	s.delivered = m.delivered.WithLabelValues(topic, group)
	s.redelivered = m.redelivered.WithLabelValues(topic, group)
	s.acked = m.acked.WithLabelValues(topic, group)
	s.nacked = m.nacked.WithLabelValues(topic, group)
	s.takenOver = m.takenOver.WithLabelValues(topic, group)
	s.leasesLost = m.leasesLost.WithLabelValues(topic, group)
	s.parked = m.parked.WithLabelValues(topic, group)
	s.trimmedUnread = m.trimmedUnread.WithLabelValues(topic, group)
	s.reconnects = m.reconnects.WithLabelValues(topic, group)
	s.delay = m.delay.WithLabelValues(topic, group)
	s.handler = m.handler.WithLabelValues(topic, group)
	s.closeDuration = m.closeDuration.WithLabelValues(topic, group)
	s.heldEntries = m.heldEntries.WithLabelValues(topic, group)
	s.heldBytes = m.heldBytes.WithLabelValues(topic, group)
	for _, reason := range []redisstream.DeadLetterReason{
		redisstream.DeadLetterOverLimit, redisstream.DeadLetterRejected, redisstream.DeadLetterUndecodable, redisstream.DeadLetterGivenUp,
	} {
		s.deadLettered[reason] = m.deadLettered.WithLabelValues(topic, group, string(reason))
	}
	return s
}

// hold sets what one subscription holds. The gauges have the sum of all.
func (s *subscription) hold(event redisstream.ReadAheadEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.held[event.Subscription]
	if event.Entries == 0 && event.Bytes == 0 {
		delete(s.held, event.Subscription)
	} else {
		s.held[event.Subscription] = held{event.Entries, event.Bytes}
	}
	s.heldEntries.Add(float64(event.Entries - before.entries))
	s.heldBytes.Add(float64(event.Bytes - before.bytes))
}
