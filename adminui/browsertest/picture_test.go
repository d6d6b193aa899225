package browsertest

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/chromedp/chromedp"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "take the picture of the README again")

// takePicture returns the picture of a group with something to see: it falls behind, one handler hangs, and
// another message fails again and again.
func takePicture(t *testing.T) []byte {
	t.Helper()
	b := fixture.NewOn(t, redistest.Start(t))
	b.Topic = "orders"
	subscribe := func(consumer string) <-chan *message.Message {
		config := fixture.GroupConfig()
		config.ConsumerGroup, config.Consumer = "kitchen", consumer
		config.MaxInFlight, config.MaxDeliveries = 4, 0
		_, messages := b.Subscribe(config)
		return messages
	}
	first, second := subscribe("kitchen-1"), subscribe("kitchen-2")
	tab := open(b, func(c *adminui.Config) { c.SampleInterval, c.Title = 250*time.Millisecond, "Shop, production" })
	tab.visit("group", "topic", b.Topic, "group", "kitchen")

	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	go work(first, 9*time.Millisecond)
	go work(second, 11*time.Millisecond)
	end := time.Now().Add(30 * time.Second)
	for i := 0; time.Now().Before(end); i++ {
		msg := message.NewMessage(fmt.Sprintf("order-%d", i), []byte(`{"order": 1}`))
		require.NoError(t, publisher.Publish(b.Topic, msg))
		time.Sleep(time.Duration(4+3*(i/400%2)) * time.Millisecond)
	}
	tab.visit("group", "topic", b.Topic, "group", "kitchen")
	picture, err := chromedp.Run(tab.ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	return picture
}

// work handles messages, each for some time. One in 500 fails for ever.
func work(messages <-chan *message.Message, each time.Duration) {
	n := 0
	for msg := range messages {
		time.Sleep(each)
		if n++; n%500 == 0 {
			redisstream.NackWithReason(msg, errors.New("the oven is off"))
			continue
		}
		msg.Ack()
	}
}
