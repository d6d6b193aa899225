package redisstream

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// However a call ends, it leaves nothing of its load in the lanes: messages without a key would avoid them.
func TestPublish_leavesNoLoadInTheLanes(t *testing.T) {
	t.Parallel()
	client := redistest.StartMasters(t, [3]time.Duration{}).Client(t)
	gate := new(gate)
	client.AddHook(gate)
	const partitions, topic = 12, "load"
	publisher, err := NewPublisher(PublisherConfig{
		Client: client, Partitions: partitions, PartitionKey: func(msg *message.Message) string { return msg.UUID },
	}, nil)
	require.NoError(t, err)
	defer publisher.Close()
	publish := func(ctx context.Context, bytes int) error {
		messages := make([]*message.Message, 100)
		for i := range messages {
			messages[i] = message.NewMessage(fmt.Sprint(i), make([]byte, bytes))
			messages[i].SetContext(ctx)
		}
		return publisher.Publish(topic, messages...)
	}
	idle := func() {
		t.Helper()
		lanes := publisher.partitioned.of(topic).lanes.current().all
		require.Len(t, lanes, 3)
		for _, lane := range lanes {
			assert.Zero(t, lane.load.Load(), lane.name)
		}
	}
	require.NoError(t, publish(context.Background(), 10))
	idle()
	require.NoError(t, publish(t.Context(), 10))
	idle()
	require.NoError(t, publish(context.Background(), 20<<10), "several pipelines for each lane")
	idle()
	require.NoError(t, publish(context.Background(), largeMessage))
	idle()

	// A call that is withdrawn before it is written.
	gate.closed.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- publish(ctx, 10) }()
	require.Eventually(t, func() bool {
		for _, lane := range publisher.partitioned.of(topic).lanes.current().all {
			if lane.load.Load() == 0 {
				return false
			}
		}
		return true
	}, redistest.Soon, time.Millisecond)
	cancel()
	require.ErrorIs(t, redistest.Within(t, "the withdrawn call", result), context.Canceled)
	idle()
}

// gate is a hook of a client. While it is closed, pipelines wait in front of the connection until their
// context ends.
type gate struct{ closed atomic.Bool }

func (*gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if g.closed.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
		return next(ctx, commands)
	}
}
