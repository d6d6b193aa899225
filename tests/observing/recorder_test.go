package observing

import (
	"reflect"
	"sync"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/require"
)

// recorder is an Observer that keeps all events.
type recorder struct {
	mu     sync.Mutex
	events []any
}

var _ redisstream.Observer = (*recorder)(nil)

func (r *recorder) record(event any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

func (r *recorder) Published(event redisstream.PublishEvent)       { r.record(event) }
func (r *recorder) PipelineSent(event redisstream.PipelineEvent)   { r.record(event) }
func (r *recorder) Delivered(event redisstream.DeliveryEvent)      { r.record(event) }
func (r *recorder) Handled(event redisstream.HandlerEvent)         { r.record(event) }
func (r *recorder) Acked(event redisstream.AckEvent)               { r.record(event) }
func (r *recorder) TakenOver(event redisstream.TakeOverEvent)      { r.record(event) }
func (r *recorder) LeasesLost(event redisstream.LeaseLossEvent)    { r.record(event) }
func (r *recorder) DeadLettered(event redisstream.DeadLetterEvent) { r.record(event) }
func (r *recorder) Parked(event redisstream.ParkEvent)             { r.record(event) }
func (r *recorder) TrimmedUnread(event redisstream.TrimEvent)      { r.record(event) }
func (r *recorder) ReadAhead(event redisstream.ReadAheadEvent)     { r.record(event) }
func (r *recorder) Reconnected(event redisstream.ReconnectEvent)   { r.record(event) }
func (r *recorder) Closed(event redisstream.CloseEvent)            { r.record(event) }

// of returns the events of one type, in their order.
func of[T any](r *recorder) (list []T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, event := range r.events {
		if event, ok := event.(T); ok {
			list = append(list, event)
		}
	}
	return list
}

// one waits for the first event of a type, and returns it.
func one[T any](b *fixture.Bench, r *recorder) T {
	b.Helper()
	var none T
	b.Eventually(reflect.TypeOf(none).Name(), func() bool { return len(of[T](r)) > 0 })
	return of[T](r)[0]
}

// observed returns a configuration with a recorder.
func observed(config redisstream.SubscriberConfig) (redisstream.SubscriberConfig, *recorder) {
	r := &recorder{}
	config.Observer = r
	return config, r
}

// acked returns how many entries were acknowledged.
func (r *recorder) acked() (sum int) {
	for _, event := range of[redisstream.AckEvent](r) {
		sum += event.Entries
	}
	return sum
}

// openPublisher returns a Publisher with a recorder.
func openPublisher(t *testing.T, config redisstream.PublisherConfig) (*redisstream.Publisher, *recorder) {
	t.Helper()
	r := &recorder{}
	config.Observer = r
	publisher, err := redisstream.NewPublisher(config, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publisher.Close()) })
	return publisher, r
}
