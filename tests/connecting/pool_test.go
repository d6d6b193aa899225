package connecting

import (
	"fmt"
	"testing"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Subscriptions hold no connections of the user's pool: a hundred subscriptions work with a pool of
// ten.
func TestPool_manySubscriptionsOnASmallPool(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Client = b.Server.Client(t, func(o *redis.Options) { o.PoolSize, o.MaxActiveConns, o.PipelinePoolSize = 10, 10, -1 })
	subscriber := b.Subscriber(fixture.GroupConfig())
	topic := b.Topic
	for i := range 100 {
		b.Topic = fmt.Sprint(topic, i)
		messages, err := subscriber.Subscribe(t.Context(), b.Topic)
		require.NoError(t, err)
		b.Publish(10)
		require.Equal(t, fixture.Payloads(10), fixture.ReceiveAll(t, messages, 10))
	}
	for i := range 100 {
		b.Topic = fmt.Sprint(topic, i)
		b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	}
}
