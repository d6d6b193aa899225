package redisstreamotel_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// measured is an Observer, and what it recorded.
type measured struct {
	*redisstreamotel.Observer
	reader *sdkmetric.ManualReader
}

func newMeasured(t *testing.T, attributes ...attribute.KeyValue) measured {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	observer, err := redisstreamotel.NewObserver(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), attributes...)
	require.NoError(t, err)
	return measured{observer, reader}
}

// collect returns the metrics by name.
func (m measured) collect(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, m.reader.Collect(t.Context(), &data))
	found := map[string]metricdata.Metrics{}
	for _, scope := range data.ScopeMetrics {
		for _, metric := range scope.Metrics {
			found[metric.Name] = metric
		}
	}
	return found
}

// points returns the sums of counters and the counts of histograms, by their attributes.
func points(data metricdata.Aggregation) map[string]int64 {
	found := map[string]int64{}
	add := func(set attribute.Set, n int64) { found[set.Encoded(attribute.DefaultEncoder())] = n }
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, point.Value)
		}
	case metricdata.Histogram[int64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, int64(point.Count))
		}
	case metricdata.Histogram[float64]:
		for _, point := range data.DataPoints {
			add(point.Attributes, int64(point.Count))
		}
	}
	return found
}

// everything sends one event of each kind.
func everything(o redisstream.Observer) {
	about := redisstream.Subscription{Topic: "orders", Group: "g", Consumer: "c"}
	o.Published(redisstream.PublishEvent{
		Topic: "orders", Published: 3, Failed: 2, Uncertain: 1, Bytes: 300, Duration: time.Millisecond,
		Err: &redisstream.PublishError{Err: redisstream.ErrPublisherClosed},
	})
	o.Published(redisstream.PublishEvent{Topic: "orders", Published: 1, Bytes: 100, Duration: time.Millisecond})
	o.PipelineSent(redisstream.PipelineEvent{Topic: "orders", Messages: 4})
	o.Delivered(redisstream.DeliveryEvent{Subscription: about, Deliveries: 1, Delay: time.Second})
	o.Delivered(redisstream.DeliveryEvent{Subscription: about, Deliveries: 2, Delay: time.Hour})
	o.Handled(redisstream.HandlerEvent{Subscription: about, Duration: time.Second})
	o.Handled(redisstream.HandlerEvent{Subscription: about, Duration: time.Second, Nacked: true})
	o.Acked(redisstream.AckEvent{Subscription: about, Entries: 5})
	o.TakenOver(redisstream.TakeOverEvent{Subscription: about, Entries: 6, Released: 1})
	o.LeasesLost(redisstream.LeaseLossEvent{Subscription: about, Entries: 7})
	o.DeadLettered(redisstream.DeadLetterEvent{Subscription: about, Reason: redisstream.DeadLetterRejected})
	o.Parked(redisstream.ParkEvent{Subscription: about, Entries: 8})
	o.TrimmedUnread(redisstream.TrimEvent{Subscription: about, Entries: 9})
	o.ReadAhead(redisstream.ReadAheadEvent{Subscription: about, Entries: 10, Bytes: 1000})
	o.ReadAhead(redisstream.ReadAheadEvent{Subscription: about, Entries: 4, Bytes: 400})
	o.Reconnected(redisstream.ReconnectEvent{Subscription: about})
	o.Closed(redisstream.CloseEvent{Subscription: about, Duration: time.Second})
	o.Closed(redisstream.CloseEvent{Duration: time.Second})
}

func TestObserver_eachEvent(t *testing.T) {
	t.Parallel()
	m := newMeasured(t, attribute.String("server.address", "redis-1"))
	everything(m)
	const (
		end       = "messaging.system=redis,server.address=redis-1"
		topic     = "messaging.destination.name=orders,"
		published = topic + "messaging.operation.name=publish,messaging.operation.type=send,"
		group     = "messaging.consumer.group.name=g," + topic
		processed = group + "messaging.operation.name=process,messaging.operation.type=process," + end
		failed    = "error.type=publisher_closed," + topic + "messaging.operation.name=publish,messaging.operation.type=send,"
	)
	want := map[string]map[string]int64{
		"messaging.client.sent.messages": {
			published + end: 4,
			"error.type=publisher_closed," + topic + "messaging.operation.name=publish,messaging.operation.type=send,messaging.redis.message.outcome=failed," + end:    2,
			"error.type=publisher_closed," + topic + "messaging.operation.name=publish,messaging.operation.type=send,messaging.redis.message.outcome=uncertain," + end: 1,
		},
		"messaging.client.operation.duration": {published + end: 1, failed + end: 1},
		"messaging.client.consumed.messages":  {processed: 2},
		"messaging.process.duration":          {processed: 1, "error.type=nacked," + processed: 1},
		"redisstream.published.size":          {topic + end: 400},
		"redisstream.publish.batch":           {topic + end: 1},
		"redisstream.redelivered.messages":    {group + end: 1},
		"redisstream.delivery.delay":          {group + end: 1},
		"redisstream.acked.messages":          {group + end: 5},
		"redisstream.taken_over.entries":      {group + end: 6},
		"redisstream.lost.leases":             {group + end: 7},
		"redisstream.dead_lettered.messages":  {group + "messaging.system=redis,redisstream.dead_letter.reason=rejected,server.address=redis-1": 1},
		"redisstream.parked.messages":         {group + end: 8},
		"redisstream.trimmed_unread.entries":  {group + end: 9},
		"redisstream.read_ahead.entries":      {group + end: 4},
		"redisstream.read_ahead.size":         {group + end: 400},
		"redisstream.reconnects":              {group + end: 1},
		"redisstream.close.duration":          {group + end: 1, end: 1},
	}
	collected := m.collect(t)
	assert.Len(t, collected, len(want))
	for name, expected := range want {
		assert.Equal(t, expected, points(collected[name].Data), name)
	}
}

// A Publisher and a Subscriber on a real server. A fan-out has no group.
func TestObserver_realServer(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	m := newMeasured(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Observer: m})
	config := retryAtOnce()
	config.Observer = m
	subscriber, messages := b.Subscribe(config)
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 20)...))
	fixture.Receive(t, messages).Nack()
	fixture.ReceiveAll(t, messages, 20)
	require.NoError(t, subscriber.Close())
	fanOut, messages := b.Subscribe(redisstream.SubscriberConfig{StartID: "0", Observer: m})
	fixture.ReceiveAll(t, messages, 20)
	require.NoError(t, fanOut.Close())

	collected := m.collect(t)
	grouped := "messaging.consumer.group.name=g,messaging.destination.name=" + b.Topic + ","
	const of = "messaging.operation.name=process,messaging.operation.type=process,messaging.system=redis"
	fanned := "messaging.destination.name=" + b.Topic + "," + of
	assert.Equal(t, map[string]int64{grouped + of: 21, fanned: 20}, points(collected["messaging.client.consumed.messages"].Data))
	assert.Equal(t, map[string]int64{grouped + of: 20, fanned: 20, "error.type=nacked," + grouped + of: 1}, points(collected["messaging.process.duration"].Data))
	assert.Equal(t, map[string]int64{grouped + "messaging.system=redis": 20}, points(collected["redisstream.acked.messages"].Data))
	for _, n := range points(collected["redisstream.read_ahead.entries"].Data) {
		assert.Zero(t, n)
	}
}

var errRefused = errors.New("refused")

// refusing is a MeterProvider that refuses an instrument.
type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

func (refusingMeter) Int64UpDownCounter(string, ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return noop.Int64UpDownCounter{}, errRefused
}

func TestNewObserver_refused(t *testing.T) {
	t.Parallel()
	_, err := redisstreamotel.NewObserver(refusing{})
	require.ErrorIs(t, err, errRefused)
	observer, err := redisstreamotel.NewObserver(nil)
	require.NoError(t, err)
	everything(observer)
}

// The table in docs/metrics.md has each instrument with its kind, unit and text, and no other.
func TestInstruments_areDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	table := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| `messaging.") && !strings.HasPrefix(line, "| `redisstream.") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		require.Len(t, cells, 4, line)
		table[strings.Trim(cells[0], "`")] = []string{cells[1], strings.Trim(cells[2], "`"), cells[3]}
	}
	m := newMeasured(t)
	everything(m)
	recorded := map[string][]string{}
	for name, data := range m.collect(t) {
		recorded[name] = []string{kindOf(data.Data), data.Unit, data.Description}
	}
	assert.Equal(t, recorded, table)
}

func kindOf(data metricdata.Aggregation) string {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		if data.IsMonotonic {
			return "counter"
		}
		return "up-down counter"
	default:
		return "histogram"
	}
}

// The durations of round trips have the buckets of the semantic conventions.
func TestInstruments_buckets(t *testing.T) {
	t.Parallel()
	m := newMeasured(t)
	everything(m)
	histogram := m.collect(t)["messaging.client.operation.duration"].Data.(metricdata.Histogram[float64])
	want := []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	assert.True(t, slices.Equal(want, histogram.DataPoints[0].Bounds))
}
