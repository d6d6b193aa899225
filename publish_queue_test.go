package redisstream

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublisher_remembersABoundedNumberOfTopics(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	publisher, err := NewPublisher(PublisherConfig{Client: client}, nil)
	require.NoError(t, err)
	const topics = 3 * maxIdleQueues
	prefix := t.Name() + rand.Text()
	var all sync.WaitGroup
	for worker := range 4 { // which meet on each topic
		all.Go(func() {
			for i := range topics {
				msg := message.NewMessage(fmt.Sprint(worker), nil)
				assert.NoError(t, publisher.Publish(fmt.Sprintf("%s:%d", prefix, i), msg))
			}
		})
	}
	all.Wait()
	require.NoError(t, publisher.Close())
	assert.LessOrEqual(t, len(publisher.queues.queues), maxIdleQueues)
	for i := range topics {
		assert.EqualValues(t, 4, client.XLen(t.Context(), fmt.Sprintf("%s:%d", prefix, i)).Val())
	}
}
