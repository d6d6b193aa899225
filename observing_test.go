package redisstream

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
)

// An Observer that does nothing allocates nothing.
func TestObserving_allocatesNothing(t *testing.T) {
	messages := []*message.Message{message.NewMessage("1", nil)}
	publisher := newPublisherObserver(NopObserver{}, watermill.NopLogger{})
	call, part := newPublication("orders", messages), []*publishCall{{bytes: 100}}
	config := SubscriberConfig{ConsumerGroup: "g", Observer: NopObserver{}}
	subscription := config.newSubscriptionObserver(Subscription{Topic: "orders", Group: "g", Consumer: "c"}, watermill.NopLogger{})
	now := time.Now()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		publisher.published(call, nil, time.Second)
		publisher.sent("orders", part, 1, time.Second)
		subscription.Delivered("1795520068644-0", 1, now)
		subscription.Handled(time.Second, false)
		subscription.Acked(1)
		subscription.ReadAhead(1, 1)
	}))
}

func TestObserving_delay(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]time.Duration{"1000-7": 500 * time.Millisecond, "2000-0": 0} {
		recorder := &delays{}
		config := SubscriberConfig{Observer: recorder}
		config.newSubscriptionObserver(Subscription{Topic: "orders", Group: "g", Consumer: "c"}, watermill.NopLogger{}).Delivered(id, 1, time.UnixMilli(1500))
		assert.Equal(t, []time.Duration{want}, recorder.list, id)
	}
}

type delays struct {
	NopObserver

	list []time.Duration
}

func (d *delays) Delivered(event DeliveryEvent) { d.list = append(d.list, event.Delay) }
