package redisstreamprom

import (
	"cmp"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/millrace/redisstream"
	"github.com/prometheus/client_golang/prometheus"
)

// DefaultMaxTopics is the default of Config.MaxTopics.
const DefaultMaxTopics = 1000

// Overflow is the value of the labels topic and group for topics over Config.MaxTopics.
const Overflow = "_other"

// Config configures an Observer.
type Config struct {
	// MaxTopics is how many topics of publishers, and how many pairs of topic and group of
	// subscribers, have metrics of their own. Further ones share the label value Overflow.
	//
	// A topic of a subscription has about 80 time series, most of them buckets of histograms. Lower
	// it if topics are created dynamically and Prometheus can't store that many time series. Raise
	// it if you have more topics than that. Defaults to DefaultMaxTopics. Negative: all share
	// Overflow.
	MaxTopics int
}

// Observer counts what a Publisher and a Subscriber do. It is a redisstream.Observer, and a
// prometheus.Collector to register. It is safe for concurrent use.
type Observer struct {
	redisstream.NopObserver // for methods to come

	metrics       metrics
	maxTopics     int
	mu            sync.Mutex // of adding to what follows
	publishers    atomic.Pointer[map[string]*publisher]
	subscriptions atomic.Pointer[map[subscriptionKey]*subscription]
	recent        atomic.Pointer[subscription] // what was looked up last; most processes have few subscriptions

	otherPublisher    func() *publisher
	otherSubscription func() *subscription
}

var (
	_ redisstream.Observer = (*Observer)(nil)
	_ prometheus.Collector = (*Observer)(nil)
)

// New returns an Observer. Register it in a prometheus.Registerer, and set it in the configurations
// of publishers and subscribers. Two of them can't be in one registry.
func New(config Config) *Observer {
	o := &Observer{metrics: newMetrics(), maxTopics: cmp.Or(config.MaxTopics, DefaultMaxTopics)}
	o.publishers.Store(&map[string]*publisher{})
	o.subscriptions.Store(&map[subscriptionKey]*subscription{})
	o.otherPublisher = sync.OnceValue(func() *publisher { return o.metrics.publisher(Overflow) })
	o.otherSubscription = sync.OnceValue(func() *subscription { return o.metrics.subscription(Overflow, Overflow) })
	return o
}

// Describe is part of prometheus.Collector.
func (o *Observer) Describe(descriptions chan<- *prometheus.Desc) {
	for _, collector := range o.metrics.all {
		collector.Describe(descriptions)
	}
}

// Collect is part of prometheus.Collector.
func (o *Observer) Collect(metrics chan<- prometheus.Metric) {
	for _, collector := range o.metrics.all {
		collector.Collect(metrics)
	}
}

type subscriptionKey struct{ topic, group string }

// publisher returns the metrics of a topic. The map is copied when a topic comes, so that the lookup
// takes no lock.
func (o *Observer) publisher(topic string) *publisher {
	if known := (*o.publishers.Load())[topic]; known != nil {
		return known
	}
	return remember(&o.mu, &o.publishers, topic, o.maxTopics, o.otherPublisher, func() *publisher { return o.metrics.publisher(topic) })
}

// subscription returns the metrics of a topic and group.
func (o *Observer) subscription(about redisstream.Subscription) *subscription {
	if recent := o.recent.Load(); recent != nil && recent.topic == about.Topic && recent.group == about.Group {
		return recent
	}
	found := o.lookUp(about)
	o.recent.Store(found)
	return found
}

func (o *Observer) lookUp(about redisstream.Subscription) *subscription {
	key := subscriptionKey{about.Topic, about.Group}
	if known := (*o.subscriptions.Load())[key]; known != nil {
		return known
	}
	return remember(&o.mu, &o.subscriptions, key, o.maxTopics, o.otherSubscription, func() *subscription {
		return o.metrics.subscription(about.Topic, about.Group)
	})
}

// remember adds what create returns to a map, or returns other if the map is full.
func remember[K comparable, V any](
	mu *sync.Mutex, all *atomic.Pointer[map[K]*V], key K, most int, other, create func() *V,
) *V {
	mu.Lock()
	defer mu.Unlock()
	known := *all.Load()
	if value := known[key]; value != nil {
		return value
	}
	if len(known) >= most {
		return other()
	}
	value := create()
	extended := maps.Clone(known)
	extended[key] = value
	all.Store(&extended)
	return value
}

// Published is part of redisstream.Observer, as all that follow.
func (o *Observer) Published(event redisstream.PublishEvent) {
	p := o.publisher(event.Topic)
	add(p.published, event.Published)
	add(p.failed, event.Failed)
	add(p.uncertain, event.Uncertain)
	add(p.bytes, event.Bytes)
	p.duration.Observe(event.Duration.Seconds())
}

func add(counter prometheus.Counter, n int) {
	if n > 0 {
		counter.Add(float64(n))
	}
}

// PipelineSent observes the size of a batch.
func (o *Observer) PipelineSent(event redisstream.PipelineEvent) {
	o.publisher(event.Topic).batch.Observe(float64(event.Messages))
}

// Delivered counts a delivery. The delay of a redelivery is not observed, because it includes the
// pauses between deliveries.
func (o *Observer) Delivered(event redisstream.DeliveryEvent) {
	s := o.subscription(event.Subscription)
	s.delivered.Inc()
	if event.Deliveries > 1 {
		s.redelivered.Inc()
		return
	}
	s.delay.Observe(event.Delay.Seconds())
}

// Handled observes how long a handler took.
func (o *Observer) Handled(event redisstream.HandlerEvent) {
	s := o.subscription(event.Subscription)
	s.handler.Observe(event.Duration.Seconds())
	if event.Nacked {
		s.nacked.Inc()
	}
}

// Acked counts acknowledged entries.
func (o *Observer) Acked(event redisstream.AckEvent) {
	o.subscription(event.Subscription).acked.Add(float64(event.Entries))
}

// TakenOver counts entries of idle consumers, and not those that consumers released.
func (o *Observer) TakenOver(event redisstream.TakeOverEvent) {
	o.subscription(event.Subscription).takenOver.Add(float64(event.Entries))
}

// LeasesLost counts leases.
func (o *Observer) LeasesLost(event redisstream.LeaseLossEvent) {
	o.subscription(event.Subscription).leasesLost.Add(float64(event.Entries))
}

// DeadLettered counts a dead letter.
func (o *Observer) DeadLettered(event redisstream.DeadLetterEvent) {
	s := o.subscription(event.Subscription)
	counter := s.deadLettered[event.Reason]
	if counter == nil { // a reason of a later version
		counter = o.metrics.deadLettered.WithLabelValues(labelOf(s.topic), labelOf(s.group), string(event.Reason))
	}
	counter.Inc()
}

// Parked counts entries that went into the retry queue.
func (o *Observer) Parked(event redisstream.ParkEvent) {
	o.subscription(event.Subscription).parked.Add(float64(event.Entries))
}

// TrimmedUnread counts lost entries.
func (o *Observer) TrimmedUnread(event redisstream.TrimEvent) {
	o.subscription(event.Subscription).trimmedUnread.Add(float64(event.Entries))
}

// ReadAhead sets the gauges of held entries and bytes.
func (o *Observer) ReadAhead(event redisstream.ReadAheadEvent) {
	o.subscription(event.Subscription).hold(event)
}

// Reconnected counts a connection.
func (o *Observer) Reconnected(event redisstream.ReconnectEvent) {
	o.subscription(event.Subscription).reconnects.Inc()
}

// Closed observes how long the end took.
func (o *Observer) Closed(event redisstream.CloseEvent) {
	if event.Topic == "" { // of a Publisher
		o.metrics.closeDuration.WithLabelValues("", "").Observe(event.Duration.Seconds())
		return
	}
	o.subscription(event.Subscription).closeDuration.Observe(event.Duration.Seconds())
}
