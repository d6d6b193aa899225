package redisstreamotel

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/millrace/redisstream"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// DeadLetterReasonKey is why an entry became a dead letter: a redisstream.DeadLetterReason.
const DeadLetterReasonKey = attribute.Key("redisstream.dead_letter.reason")

// errNacked is error.type of a message that its handler nacked.
const errNacked = "nacked"

// Observer records what a Publisher and a Subscriber do with the instruments of the semantic
// conventions for messaging, and with further ones named redisstream.*. Set it in
// PublisherConfig.Observer and SubscriberConfig.Observer. It is safe for concurrent use.
//
// The topic and the group are attributes. The consumer is not an attribute, because most names are
// generated. The SDK bounds the number of attribute sets.
type Observer struct {
	redisstream.NopObserver // for methods to come

	attributes    []attribute.KeyValue // of each measurement
	record        instruments
	publishers    cache[string, publisherSets]
	subscriptions cache[subscriptionKey, subscriptionSets]

	mu   sync.Mutex
	held map[redisstream.Subscription]redisstream.ReadAheadEvent // what makes up the up-down counters
}

var _ redisstream.Observer = (*Observer)(nil)

// NewObserver returns an Observer that records with meters of the provider, and adds the attributes
// to each measurement, such as server.address and server.port. A nil provider is
// otel.GetMeterProvider(). It returns an error if the provider refuses an instrument.
func NewObserver(provider metric.MeterProvider, attributes ...attribute.KeyValue) (*Observer, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	record, err := newInstruments(provider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)))
	if err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	return &Observer{
		attributes: append([]attribute.KeyValue{semconv.MessagingSystemKey.String("redis")}, attributes...),
		record:     record, held: make(map[redisstream.Subscription]redisstream.ReadAheadEvent),
	}, nil
}

// maxSets is how many topics, and pairs of topic and group, keep their attribute sets. Making one
// costs more than the measurement.
const maxSets = 1024

// cache keeps values that are made from their key.
type cache[K comparable, V any] struct {
	mu   sync.RWMutex
	kept map[K]*V
}

func (c *cache[K, V]) get(key K, create func() *V) *V {
	c.mu.RLock()
	value := c.kept[key]
	c.mu.RUnlock()
	if value != nil {
		return value
	}
	value = create()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxSets {
		c.kept = make(map[K]*V)
	}
	c.kept[key] = value
	return value
}

// set is a set of attributes, as counters and as histograms take it.
type set struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func (o *Observer) set(attributes ...attribute.KeyValue) set {
	option := metric.WithAttributeSet(attribute.NewSet(append(slices.Clip(o.attributes), attributes...)...))
	return set{[]metric.AddOption{option}, []metric.RecordOption{option}}
}

// publisherSets are those of a topic.
type publisherSets struct{ plain, publish set }

func (o *Observer) publisher(topic string) *publisherSets {
	return o.publishers.get(topic, func() *publisherSets {
		return &publisherSets{plain: o.set(semconv.MessagingDestinationName(topic)), publish: o.set(operationOf(publish, topic)...)}
	})
}

// operationOf returns the attributes of an operation, and more.
func operationOf(name, topic string, more ...attribute.KeyValue) []attribute.KeyValue {
	return append(more, semconv.MessagingOperationName(name), types[name], semconv.MessagingDestinationName(topic))
}

type subscriptionKey struct{ topic, group string }

// subscriptionSets are those of a topic and a group.
type subscriptionSets struct{ plain, process, nacked set }

func (o *Observer) subscription(about redisstream.Subscription) *subscriptionSets {
	return o.subscriptions.get(subscriptionKey{about.Topic, about.Group}, func() *subscriptionSets {
		group := groupOf(about)
		return &subscriptionSets{
			plain:   o.set(append(group, semconv.MessagingDestinationName(about.Topic))...),
			process: o.set(operationOf(process, about.Topic, group...)...),
			nacked:  o.set(operationOf(process, about.Topic, append(group, semconv.ErrorTypeKey.String(errNacked))...)...),
		}
	})
}

// groupOf returns the attribute of the consumer group. A fan-out has none.
func groupOf(about redisstream.Subscription) []attribute.KeyValue {
	if about.Group == "" {
		return nil
	}
	return []attribute.KeyValue{semconv.MessagingConsumerGroupName(about.Group)}
}

// Published is part of redisstream.Observer, as all that follow. Failed and uncertain messages were
// attempted, too: they have error.type and OutcomeKey.
func (o *Observer) Published(event redisstream.PublishEvent) {
	ctx, sets := context.Background(), o.publisher(event.Topic)
	if event.Published > 0 {
		o.record.sent.Add(ctx, int64(event.Published), sets.publish.add...)
		o.record.publishedBytes.Add(ctx, int64(event.Bytes), sets.plain.add...)
	}
	if event.Err == nil {
		o.record.operation.Record(ctx, event.Duration.Seconds(), sets.publish.record...)
		return
	}
	cause := errorType(event.Err)
	o.record.operation.Record(ctx, event.Duration.Seconds(), o.set(operationOf(publish, event.Topic, cause)...).record...)
	for outcome, n := range map[string]int{OutcomeFailed: event.Failed, OutcomeUncertain: event.Uncertain} {
		if n > 0 {
			o.record.sent.Add(ctx, int64(n), o.set(operationOf(publish, event.Topic, cause, OutcomeKey.String(outcome))...).add...)
		}
	}
}

// PipelineSent records the size of a batch.
func (o *Observer) PipelineSent(event redisstream.PipelineEvent) {
	o.record.batch.Record(context.Background(), int64(event.Messages), o.publisher(event.Topic).plain.record...)
}

// Delivered counts a delivery. The delay of a redelivery is not recorded, because it includes the
// pauses between deliveries.
func (o *Observer) Delivered(event redisstream.DeliveryEvent) {
	ctx, sets := context.Background(), o.subscription(event.Subscription)
	o.record.consumed.Add(ctx, 1, sets.process.add...)
	if event.Deliveries > 1 {
		o.record.redelivered.Add(ctx, 1, sets.plain.add...)
		return
	}
	o.record.delay.Record(ctx, event.Delay.Seconds(), sets.plain.record...)
}

// Handled records how long a handler took.
func (o *Observer) Handled(event redisstream.HandlerEvent) {
	sets := o.subscription(event.Subscription)
	of := sets.process
	if event.Nacked {
		of = sets.nacked
	}
	o.record.process.Record(context.Background(), event.Duration.Seconds(), of.record...)
}

// Acked counts acknowledged entries.
func (o *Observer) Acked(event redisstream.AckEvent) {
	o.count(o.record.acked, event.Subscription, event.Entries)
}

// TakenOver counts entries of idle consumers, and not those that consumers released.
func (o *Observer) TakenOver(event redisstream.TakeOverEvent) {
	o.count(o.record.takenOver, event.Subscription, event.Entries)
}

// LeasesLost counts leases.
func (o *Observer) LeasesLost(event redisstream.LeaseLossEvent) {
	o.count(o.record.leasesLost, event.Subscription, event.Entries)
}

// DeadLettered counts a dead letter.
func (o *Observer) DeadLettered(event redisstream.DeadLetterEvent) {
	of := append(groupOf(event.Subscription), semconv.MessagingDestinationName(event.Topic), DeadLetterReasonKey.String(string(event.Reason)))
	o.record.deadLettered.Add(context.Background(), 1, o.set(of...).add...)
}

// Parked counts entries that went into the retry queue.
func (o *Observer) Parked(event redisstream.ParkEvent) {
	o.count(o.record.parked, event.Subscription, event.Entries)
}

// TrimmedUnread counts lost entries.
func (o *Observer) TrimmedUnread(event redisstream.TrimEvent) {
	o.record.trimmedUnread.Add(context.Background(), event.Entries, o.subscription(event.Subscription).plain.add...)
}

// ReadAhead adds to the up-down counters of held entries and bytes the difference to the last event
// of the same subscription.
func (o *Observer) ReadAhead(event redisstream.ReadAheadEvent) {
	o.mu.Lock()
	before := o.held[event.Subscription]
	if event.Entries == 0 {
		delete(o.held, event.Subscription)
	} else {
		o.held[event.Subscription] = event
	}
	o.mu.Unlock()
	ctx, sets := context.Background(), o.subscription(event.Subscription)
	o.record.heldEntries.Add(ctx, int64(event.Entries-before.Entries), sets.plain.add...)
	o.record.heldBytes.Add(ctx, int64(event.Bytes-before.Bytes), sets.plain.add...)
}

// Reconnected counts a connection.
func (o *Observer) Reconnected(event redisstream.ReconnectEvent) {
	o.count(o.record.reconnects, event.Subscription, 1)
}

// Closed records how long the end took. That of a Publisher has neither topic nor group.
func (o *Observer) Closed(event redisstream.CloseEvent) {
	of := o.set()
	if event.Topic != "" {
		of = o.subscription(event.Subscription).plain
	}
	o.record.closeDuration.Record(context.Background(), event.Duration.Seconds(), of.record...)
}

func (o *Observer) count(counter metric.Int64Counter, about redisstream.Subscription, n int) {
	if n > 0 {
		counter.Add(context.Background(), int64(n), o.subscription(about).plain.add...)
	}
}
