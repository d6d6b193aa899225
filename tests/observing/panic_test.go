package observing

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// panicking panics at each event, after it has recorded it.
type panicking struct{ recorder }

func (p *panicking) fail(event any) {
	p.record(event)
	panic(errors.New("the observer fails"))
}

func (p *panicking) Published(event redisstream.PublishEvent)       { p.fail(event) }
func (p *panicking) PipelineSent(event redisstream.PipelineEvent)   { p.fail(event) }
func (p *panicking) Delivered(event redisstream.DeliveryEvent)      { p.fail(event) }
func (p *panicking) Handled(event redisstream.HandlerEvent)         { p.fail(event) }
func (p *panicking) Acked(event redisstream.AckEvent)               { p.fail(event) }
func (p *panicking) TakenOver(event redisstream.TakeOverEvent)      { p.fail(event) }
func (p *panicking) LeasesLost(event redisstream.LeaseLossEvent)    { p.fail(event) }
func (p *panicking) DeadLettered(event redisstream.DeadLetterEvent) { p.fail(event) }
func (p *panicking) Parked(event redisstream.ParkEvent)             { p.fail(event) }
func (p *panicking) ReadAhead(event redisstream.ReadAheadEvent)     { p.fail(event) }
func (p *panicking) Closed(event redisstream.CloseEvent)            { p.fail(event) }

// An Observer that panics at each event harms nothing, and its stack is logged once for each
// Publisher and subscription.
func TestObserver_panics(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var log redistest.Log
	observer := &panicking{}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client, Observer: observer}, log.Logger())
	require.NoError(t, err)
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 10)...))
	b.ReadAs("dead", 3)
	config := fixture.FastClaimConfig()
	config.Client, config.Observer, config.MaxDeliveries = b.Client, observer, 3
	config.NackBackoff = func(int) time.Duration { return 0 }
	subscriber, err := redisstream.NewSubscriber(config, log.Logger())
	require.NoError(t, err)
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	acked := 0
	for acked < 8 {
		switch msg := fixture.Receive(t, messages); msg.UUID {
		case "m-5":
			msg.Nack()
		case "m-6":
			redisstream.RetryAfter(msg, time.Hour)
			msg.Nack()
		default:
			msg.Ack()
			acked++
		}
	}
	b.Eventually("all is settled", func() bool { return b.Pending() == 0 })
	require.NoError(t, subscriber.Close())
	require.NoError(t, publisher.Close())
	assert.Len(t, b.DeadLetters(), 1)
	assert.NotEmpty(t, of[redisstream.TakeOverEvent](&observer.recorder))
	assert.Len(t, of[redisstream.ParkEvent](&observer.recorder), 1)
	assert.Len(t, of[redisstream.CloseEvent](&observer.recorder), 2)
	assert.Equal(t, 2, log.Count("Observer panicked"), log.Lines())
}
