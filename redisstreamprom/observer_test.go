package redisstreamprom_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/redisstreamprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everything sends one event of each kind to an Observer.
func everything(o redisstream.Observer, topic string) {
	about := redisstream.Subscription{Topic: topic, Group: "g", Consumer: "c"}
	o.Published(redisstream.PublishEvent{Topic: topic, Published: 3, Failed: 2, Uncertain: 1, Bytes: 300, Duration: time.Millisecond})
	o.PipelineSent(redisstream.PipelineEvent{Topic: topic, Messages: 4, Calls: 2, Bytes: 400, Duration: time.Millisecond})
	o.Delivered(redisstream.DeliveryEvent{Subscription: about, Deliveries: 1, Delay: 2 * time.Millisecond})
	o.Delivered(redisstream.DeliveryEvent{Subscription: about, Deliveries: 2, Delay: time.Hour})
	o.Handled(redisstream.HandlerEvent{Subscription: about, Duration: time.Second})
	o.Handled(redisstream.HandlerEvent{Subscription: about, Duration: time.Second, Nacked: true})
	o.Acked(redisstream.AckEvent{Subscription: about, Entries: 5})
	o.TakenOver(redisstream.TakeOverEvent{Subscription: about, Entries: 6, Released: 1})
	o.LeasesLost(redisstream.LeaseLossEvent{Subscription: about, Entries: 7})
	o.DeadLettered(redisstream.DeadLetterEvent{Subscription: about, Reason: redisstream.DeadLetterRejected})
	o.DeadLettered(redisstream.DeadLetterEvent{Subscription: about, Reason: "later_version"})
	o.Parked(redisstream.ParkEvent{Subscription: about, Entries: 8})
	o.TrimmedUnread(redisstream.TrimEvent{Subscription: about, Entries: 9})
	o.ReadAhead(redisstream.ReadAheadEvent{Subscription: about, Entries: 10, Bytes: 1000})
	o.Reconnected(redisstream.ReconnectEvent{Subscription: about})
	o.Closed(redisstream.CloseEvent{Subscription: about, Duration: time.Second, Complete: true})
	o.Closed(redisstream.CloseEvent{Duration: time.Second, Complete: true})
}

// gather returns what a registry with the collectors has.
func gather(tb testing.TB, collectors ...prometheus.Collector) map[string]*dto.MetricFamily {
	tb.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectors...)
	list, err := registry.Gather()
	require.NoError(tb, err)
	families := map[string]*dto.MetricFamily{}
	for _, family := range list {
		families[family.GetName()] = family
	}
	return families
}

// value returns the value of a counter or gauge, or the count of a histogram. Labels are written
// like "group=g,topic=orders", by name.
func value(tb testing.TB, o *redisstreamprom.Observer, name, labels string) float64 {
	tb.Helper()
	family := gather(tb, o)["redisstream_"+name]
	require.NotNil(tb, family, name)
	for _, metric := range family.GetMetric() {
		var own []string
		for _, pair := range metric.GetLabel() {
			own = append(own, pair.GetName()+"="+pair.GetValue())
		}
		if strings.Join(own, ",") == labels {
			return metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	require.Failf(tb, "no such metric", "%s with %s in %v", name, labels, family)
	return 0
}

func TestObserver_eachEvent(t *testing.T) {
	t.Parallel()
	o := redisstreamprom.New(redisstreamprom.Config{})
	everything(o, "orders")
	for metric, want := range map[string]float64{
		"published_messages_total outcome=published,topic=orders":                3,
		"published_messages_total outcome=failed,topic=orders":                   2,
		"published_messages_total outcome=uncertain,topic=orders":                1,
		"published_bytes_total topic=orders":                                     300,
		"publish_duration_seconds topic=orders":                                  1,
		"publish_batch_messages topic=orders":                                    1,
		"delivered_messages_total group=g,topic=orders":                          2,
		"redelivered_messages_total group=g,topic=orders":                        1,
		"delivery_delay_seconds group=g,topic=orders":                            1,
		"handler_duration_seconds group=g,topic=orders":                          2,
		"acked_messages_total group=g,topic=orders":                              5,
		"nacked_messages_total group=g,topic=orders":                             1,
		"taken_over_entries_total group=g,topic=orders":                          6,
		"lost_leases_total group=g,topic=orders":                                 7,
		"dead_lettered_messages_total group=g,reason=rejected,topic=orders":      1,
		"dead_lettered_messages_total group=g,reason=over_limit,topic=orders":    0,
		"dead_lettered_messages_total group=g,reason=later_version,topic=orders": 1,
		"parked_messages_total group=g,topic=orders":                             8,
		"trimmed_unread_entries_total group=g,topic=orders":                      9,
		"read_ahead_entries group=g,topic=orders":                                10,
		"read_ahead_bytes group=g,topic=orders":                                  1000,
		"reconnects_total group=g,topic=orders":                                  1,
		"close_duration_seconds group=g,topic=orders":                            1,
		"close_duration_seconds group=,topic=":                                   1,
	} {
		name, labels, _ := strings.Cut(metric, " ")
		assert.InDelta(t, want, value(t, o, name, labels), 0, metric)
	}
}

func TestObserver_namesAreLintFree(t *testing.T) {
	t.Parallel()
	o := redisstreamprom.New(redisstreamprom.Config{})
	everything(o, "orders")
	problems, err := testutil.CollectAndLint(o)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// The gauges add up the subscriptions of a process, and forget those that ended.
func TestObserver_readAheadOfSeveral(t *testing.T) {
	t.Parallel()
	o := redisstreamprom.New(redisstreamprom.Config{})
	hold := func(consumer string, entries int) {
		about := redisstream.Subscription{Topic: "orders", Group: "g", Consumer: consumer}
		o.ReadAhead(redisstream.ReadAheadEvent{Subscription: about, Entries: entries, Bytes: 10 * entries})
	}
	hold("a", 5)
	hold("b", 7)
	hold("a", 3)
	assert.InDelta(t, 10, value(t, o, "read_ahead_entries", "group=g,topic=orders"), 0)
	assert.InDelta(t, 100, value(t, o, "read_ahead_bytes", "group=g,topic=orders"), 0)
	hold("a", 0)
	hold("b", 0)
	assert.InDelta(t, 0, value(t, o, "read_ahead_entries", "group=g,topic=orders"), 0)
}

// Topics over the bound share one value of the labels.
func TestObserver_maxTopics(t *testing.T) {
	t.Parallel()
	o := redisstreamprom.New(redisstreamprom.Config{MaxTopics: 2})
	for i := range 10 {
		everything(o, fmt.Sprint(i))
	}
	other := "group=" + redisstreamprom.Overflow + ",topic=" + redisstreamprom.Overflow
	assert.InDelta(t, 5, value(t, o, "acked_messages_total", "group=g,topic=1"), 0)
	assert.InDelta(t, 8*5, value(t, o, "acked_messages_total", other), 0)
	assert.InDelta(t, 8*10, value(t, o, "read_ahead_entries", other), 0)
	assert.InDelta(t, 8*3, value(t, o, "published_messages_total", "outcome=published,topic="+redisstreamprom.Overflow), 0)
	assert.Len(t, gather(t, o)["redisstream_acked_messages_total"].GetMetric(), 3)

	all := redisstreamprom.New(redisstreamprom.Config{MaxTopics: -1})
	everything(all, "orders")
	assert.InDelta(t, 5, value(t, all, "acked_messages_total", other), 0)
}

func TestObserver_allocatesNothing(t *testing.T) {
	o := redisstreamprom.New(redisstreamprom.Config{})
	everything(o, "orders")
	about := redisstream.Subscription{Topic: "orders", Group: "g", Consumer: "c"}
	var observer redisstream.Observer = o
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		observer.Published(redisstream.PublishEvent{Topic: "orders", Published: 1, Bytes: 256, Duration: time.Millisecond})
		observer.PipelineSent(redisstream.PipelineEvent{Topic: "orders", Messages: 1})
		observer.Delivered(redisstream.DeliveryEvent{Subscription: about, Deliveries: 1, Delay: time.Millisecond})
		observer.Handled(redisstream.HandlerEvent{Subscription: about, Duration: time.Millisecond})
		observer.Acked(redisstream.AckEvent{Subscription: about, Entries: 1})
		observer.ReadAhead(redisstream.ReadAheadEvent{Subscription: about, Entries: 1, Bytes: 256})
	}))
}

// A Publisher and a Subscriber on a real server share one Observer.
func TestObserver_realServer(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	o := redisstreamprom.New(redisstreamprom.Config{})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Observer: o})
	config := fixture.GroupConfig()
	config.Observer = o
	config.NackBackoff = func(int) time.Duration { return 0 }
	subscriber, messages := b.Subscribe(config)
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 50)...))
	fixture.Receive(t, messages).Nack()
	fixture.ReceiveAll(t, messages, 50)
	require.NoError(t, subscriber.Close())
	labels := "group=g,topic=" + b.Topic
	assert.InDelta(t, 50, value(t, o, "published_messages_total", "outcome=published,topic="+b.Topic), 0)
	assert.InDelta(t, 51, value(t, o, "delivered_messages_total", labels), 0)
	assert.InDelta(t, 1, value(t, o, "redelivered_messages_total", labels), 0)
	assert.InDelta(t, 1, value(t, o, "nacked_messages_total", labels), 0)
	assert.InDelta(t, 50, value(t, o, "acked_messages_total", labels), 0)
	assert.InDelta(t, 50, value(t, o, "delivery_delay_seconds", labels), 0)
	assert.InDelta(t, 51, value(t, o, "handler_duration_seconds", labels), 0)
	assert.InDelta(t, 1, value(t, o, "close_duration_seconds", labels), 0)
	assert.InDelta(t, 0, value(t, o, "read_ahead_entries", labels), 0)
}

// The names of topics and groups are any bytes, and labels are text.
func TestObserver_namesThatAreNoText(t *testing.T) {
	t.Parallel()
	o := redisstreamprom.New(redisstreamprom.Config{})
	everything(o, "\xff")
	everything(o, "orders")
	assert.InDelta(t, 5, value(t, o, "acked_messages_total", `group=g,topic="\xff"`), 0)
	assert.InDelta(t, 1, value(t, o, "dead_lettered_messages_total", `group=g,reason=later_version,topic="\xff"`), 0)
	assert.InDelta(t, 3, value(t, o, "published_messages_total", `outcome=published,topic="\xff"`), 0)
}
