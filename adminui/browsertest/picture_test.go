package browsertest

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/chromedp/chromedp"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "take the picture of the README again")

// takePicture returns the picture of a group with something to see: a handler hangs, so the group falls behind.
func takePicture(t *testing.T) []byte {
	t.Helper()
	b := fixture.NewOn(t, redistest.Start(t))
	b.Topic = "orders"
	inspector, err := admin.New(admin.Config{Client: b.Client, HungAfter: 5 * time.Second})
	require.NoError(t, err)
	tab := open(b, func(c *adminui.Config) {
		c.Admin, c.SampleInterval, c.Title = inspector, 250*time.Millisecond, "Shop, production"
	})
	for i, consumer := range []string{"kitchen-1", "kitchen-2"} {
		config := fixture.GroupConfig()
		config.ConsumerGroup, config.Consumer, config.MaxInFlight = "kitchen", consumer, 4
		_, messages := b.Subscribe(config)
		go work(messages, time.Duration(9+2*i)*time.Millisecond, 1000*i)
	}
	tab.visit("group", "topic", b.Topic, "group", "kitchen")

	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
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

// work handles messages, each for some time. It hangs with the one of that number; 0: with none.
func work(messages <-chan *message.Message, each time.Duration, hangs int) {
	n := 0
	for msg := range messages {
		time.Sleep(each)
		if n++; n == hangs {
			<-msg.Context().Done()
		}
		msg.Ack()
	}
}
