package delivery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A subscription that starts when the previous one has closed its channel gets the same name at
// once, and continues in order.
func TestConsumerName_isFreeWhenTheChannelCloses(t *testing.T) {
	t.Parallel()
	const lives, perLife = 200, 5
	b := fixture.New(t)
	b.Publish(lives * perLife)
	config := fixture.GroupConfig()
	config.StartID, config.Consumer = "0", "fixed"
	subscriber := b.Subscriber(config)
	next := 0
	for range lives {
		ctx, end := context.WithCancel(t.Context())
		messages, err := subscriber.Subscribe(ctx, b.Topic)
		require.NoError(t, err)
		for range perLife {
			msg := fixture.Receive(t, messages)
			require.Equal(t, strconv.Itoa(next), string(msg.Payload))
			require.Equal(t, "fixed", fixture.EntryOf(t, msg).Consumer)
			require.True(t, msg.Ack())
			next++
		}
		end()
		for msg := range messages { // messages that were just offered
			msg.Nack()
		}
	}
	assert.Equal(t, []string{"fixed"}, b.Consumers())
}

// A second subscription with the same name gets a number. Its consumer is removed when it ends.
func TestConsumerName_ofASecondSubscription(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.Consumer = "fixed"
	subscriber := b.Subscriber(config)
	_, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	ctx, end := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(ctx, b.Topic)
	require.NoError(t, err)
	b.Eventually("both consumers exist", func() bool { return slices.Contains(b.Consumers(), "fixed#2") })
	end()
	for range messages {
	}
	assert.Equal(t, []string{"fixed"}, b.Consumers())
}

// Numbered consumers of dead processes are removed after ConsumerTimeout, if they have our fixed
// name and no pending entries.
func TestConsumerName_numberedNamesOfDeadProcessesAreRemoved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fixed", "a.b-c%d+[x]*(^$)?"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			b.Publish(1)
			owner := name + "#3"
			b.ReadAs(owner, 1)
			stay := []string{"other#2", name + "x#2", name + "#", name + "#2x", "x" + name + "#2", "aXb-c%d+[x]*(^$)?#2", owner}
			for _, other := range stay[:len(stay)-1] {
				b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", other)
			}
			config := fixture.FastRemovalConfig()
			config.Consumer, config.ClaimInterval = name, -1
			b.Subscribe(config)
			for n := range 3 {
				dead := fmt.Sprintf("%s#%d", name, 2+10*n)
				b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", dead)
				b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), dead) })
			}
			assert.ElementsMatch(t, append(stay, name), b.Consumers())
		})
	}
}

// A subscription with a generated name does not remove numbered consumers.
func TestConsumerName_numberedNamesOfOthersStay(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("XGROUP", "CREATE", b.Topic, "g", "0", "MKSTREAM")
	b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "fixed#2")
	b.Subscribe(fixture.FastRemovalConfig())
	for range 3 {
		b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "host~ABCDEFGHI2")
		b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), "host~ABCDEFGHI2") })
	}
	assert.Contains(t, b.Consumers(), "fixed#2")
}

func TestConsumerName_twoSubscriptionsOfOneSubscriber(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.Consumer = "fixed"
	subscriber, first := b.Subscribe(config)
	second, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	b.Publish(2)
	one, two := fixture.Receive(t, first), fixture.Receive(t, second)
	names := []string{fixture.EntryOf(t, one).Consumer, fixture.EntryOf(t, two).Consumer}
	slices.Sort(names)
	assert.Equal(t, []string{"fixed", "fixed#2"}, names)
	one.Ack()
	two.Ack()
	b.Eventually("all acknowledged", func() bool { return b.Pending() == 0 })
}

func TestConsumerName_fixedNameBeginsWithItsPendingEntries(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(300)
	// A process died with 250 pending entries. It had acknowledged one of them.
	entries := b.ReadAs("fixed", 250)
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "g", entries[100].ID).Err())
	config := fixture.GroupConfig()
	config.Consumer = "fixed"
	_, messages := b.Subscribe(config)
	first := fixture.Receive(t, messages)
	assert.EqualValues(t, 2, fixture.EntryOf(t, first).Deliveries, "the delivery in the dead process counts")
	first.Ack()
	want := slices.Delete(fixture.Payloads(300), 100, 101)
	assert.Equal(t, want[1:], fixture.ReceiveAll(t, messages, 298))
}
