package redisstream_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who subscribes again as soon as the channel closes has the name at once, and goes on in order.
func TestName_isFreeWhenTheChannelCloses(t *testing.T) {
	t.Parallel()
	const lives, perLife = 200, 5
	b := newBench(t)
	b.publish(lives * perLife)
	config := inGroupG()
	config.StartID, config.Consumer = "0", "fixed"
	subscriber := b.subscriber(config)
	next := 0
	for range lives {
		ctx, end := context.WithCancel(t.Context())
		messages, err := subscriber.Subscribe(ctx, b.topic)
		require.NoError(t, err)
		for range perLife {
			msg := receive(t, messages)
			require.Equal(t, strconv.Itoa(next), string(msg.Payload))
			require.Equal(t, "fixed", entryOf(t, msg).Consumer)
			require.True(t, msg.Ack())
			next++
		}
		end()
		for msg := range messages { // what was just being handed out
			msg.Nack()
		}
	}
	assert.Equal(t, []string{"fixed"}, b.consumers())
}

// A second subscription at the same time has a numbered name, which is gone when it ends.
func TestName_ofASecondSubscription(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.Consumer = "fixed"
	subscriber := b.subscriber(config)
	_, err := subscriber.Subscribe(t.Context(), b.topic)
	require.NoError(t, err)
	ctx, end := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(ctx, b.topic)
	require.NoError(t, err)
	b.eventually("both are there", func() bool { return slices.Contains(b.consumers(), "fixed#2") })
	end()
	for range messages {
	}
	assert.Equal(t, []string{"fixed"}, b.consumers())
}

// Numbered names of processes that died go after ConsumerTimeout, but only those of our own name, that own nothing.
func TestName_numberedOnesOfDeadProcessesVanish(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fixed", "a.b-c%d+[x]*(^$)?"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.publish(1)
			owner := name + "#3"
			b.handOut(owner, 1)
			stay := []string{"other#2", name + "x#2", name + "#", name + "#2x", "x" + name + "#2", "aXb-c%d+[x]*(^$)?#2", owner}
			for _, other := range stay[:len(stay)-1] {
				b.do("XGROUP", "CREATECONSUMER", b.topic, "g", other)
			}
			config := quickRemoval()
			config.Consumer, config.ClaimInterval = name, -1
			b.subscribe(config)
			for n := range 3 {
				dead := fmt.Sprintf("%s#%d", name, 2+10*n)
				b.do("XGROUP", "CREATECONSUMER", b.topic, "g", dead)
				b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), dead) })
			}
			assert.ElementsMatch(t, append(stay, name), b.consumers())
		})
	}
}

// A generated name is never taken for a numbered one, and without a fixed name no numbered one is removed.
func TestName_numberedOnesOfOthersStay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("XGROUP", "CREATE", b.topic, "g", "0", "MKSTREAM")
	b.do("XGROUP", "CREATECONSUMER", b.topic, "g", "fixed#2")
	b.subscribe(quickRemoval())
	for range 3 {
		b.do("XGROUP", "CREATECONSUMER", b.topic, "g", "host~ABCDEFGHI2")
		b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), "host~ABCDEFGHI2") })
	}
	assert.Contains(t, b.consumers(), "fixed#2")
}
