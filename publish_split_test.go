package redisstream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const lanePartitions = 12

// newLanePublisher returns a Publisher to a cluster, whose pipelines the gate holds while it is closed.
func newLanePublisher(t *testing.T) (*Publisher, *gate) {
	t.Helper()
	client := redistest.StartMasters(t, [3]time.Duration{}).Client(t)
	gate := &gate{opened: make(chan struct{})}
	client.AddHook(gate)
	publisher, err := NewPublisher(PublisherConfig{
		Client: client, Partitions: lanePartitions, PartitionKey: func(msg *message.Message) string { return msg.UUID },
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		gate.open()
		require.NoError(t, publisher.Close())
	})
	return publisher, gate
}

// requireIdleLanes requires that no call is part of the load of a lane.
func requireIdleLanes(t *testing.T, publisher *Publisher, topic string) {
	t.Helper()
	lanes := publisher.partitioned.of(topic).lanes.current().all
	require.Len(t, lanes, 3)
	for _, lane := range lanes {
		require.Zero(t, lane.load.Load(), lane.name)
	}
}

// However a call ends, it leaves nothing of its load in the lanes: messages without a key would avoid them.
func TestPublish_leavesNoLoadInTheLanes(t *testing.T) {
	t.Parallel()
	publisher, gate := newLanePublisher(t)
	const topic = "load"
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
		requireIdleLanes(t, publisher, topic)
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
	gate.close(func(int) bool { return true })
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

// While the flow to a master is full, the parts for it wait. The other parts of the same calls are sent.
func TestPublish_partWaitsForItsAdmission(t *testing.T) {
	t.Parallel()
	publisher, gate := newLanePublisher(t)
	const topic, calls, perCall = "admission", 20, 100
	client := publisher.config.Client
	publish := func(call int) error {
		messages := make([]*message.Message, perCall)
		for i := range messages {
			messages[i] = message.NewMessage(fmt.Sprint(call, "-", i), make([]byte, 3<<10))
		}
		return publisher.Publish(topic, messages...)
	}
	require.NoError(t, publish(0)) // later calls know the lanes
	lanes := publisher.partitioned.of(topic).lanes.current()
	full := lanes.all[2] // the caller itself sends the part of the first lane
	isHeld := func(partition int) bool { return lanes.laneOf(partition) == full }
	gate.close(isHeld)
	want := make([]int64, lanePartitions)
	for call := range calls {
		for i := range perCall {
			partition := PartitionOf(fmt.Sprint(call, "-", i), lanePartitions)
			if !isHeld(partition) || call == 0 {
				want[partition]++
			}
		}
	}
	results := make(chan error, calls)
	for call := 1; call < calls; call++ {
		go func() { results <- publish(call) }()
	}
	lengths := func() []int64 {
		list := make([]int64, lanePartitions)
		for i, name := range PartitionTopics(topic, lanePartitions) {
			list[i] = client.XLen(context.Background(), name).Val()
		}
		return list
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, want, lengths()) }, redistest.Soon, 10*time.Millisecond)
	publisher.queues.mu.Lock()
	waiting := len(publisher.queues.queues[full.name].flows.small.waiting)
	publisher.queues.mu.Unlock()
	assert.NotZero(t, waiting, "parts wait for their admission")
	assert.Empty(t, results)
	gate.open()
	for call := 1; call < calls; call++ {
		require.NoError(t, redistest.Within(t, "Publish", results))
	}
	sum := int64(0)
	for _, length := range lengths() {
		sum += length
	}
	assert.EqualValues(t, calls*perCall, sum)
	requireIdleLanes(t, publisher, topic)
}

// gate is a hook of a client. Once it is closed, pipelines for the partitions that it holds wait in front of
// the connection, until their context ends or the gate opens.
type gate struct {
	holds  atomic.Pointer[func(partition int) bool] // nil: it was not closed
	opened chan struct{}
	once   sync.Once
}

func (g *gate) close(holds func(partition int) bool) { g.holds.Store(&holds) }

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

func (*gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		name, _ := commands[0].Args()[1].(string)
		holds := g.holds.Load()
		if _, partition, _, ok := ParsePartitionTopic(name); ok && holds != nil && (*holds)(partition) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-g.opened:
			}
		}
		return next(ctx, commands)
	}
}
