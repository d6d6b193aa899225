package redisstream

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/busypoll"
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

func TestPublishQueue_pipelinesUnderWay(t *testing.T) {
	t.Parallel()
	q := publishQueue{owner: &publishQueues{poller: new(busypoll.Poller)}}
	assert.Equal(t, 2, q.parallel(), "nothing is known of the server")
	q.rtt.Store(int64(time.Millisecond))
	assert.Equal(t, 10, q.parallel())
	q.rtt.Store(int64(time.Second))
	assert.Equal(t, 16, q.parallel())

	q.rtt.Store(int64(pipelineSpacing / 2))
	client := redistest.Shared().Client(t)
	EnableBusyPolling(client)
	q.owner.poller = pollerOf(client)
	require.Eventually(t, func() bool {
		require.NoError(t, client.Ping(t.Context()).Err())
		return q.parallel() == 1
	}, redistest.Soon, 100*time.Microsecond, "while its reader busy-polls")
}
