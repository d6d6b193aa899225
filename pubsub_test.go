package redisstream_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

// features are the flags of Watermill's suite that apply to us. TestReconnect is in
// pubsub_reconnect_test.go.
func features() tests.Features {
	return tests.Features{
		ConsumerGroups:                      true,
		GuaranteedOrder:                     true, // for one subscription in a group
		GuaranteedOrderWithSingleSubscriber: true,
		Persistent:                          true,
		NewSubscriberReceivesOldMessages:    true,
	}
}

// inGroup returns a constructor for the suite. The configuration is the default except for
// CloseTimeout, because the suite closes dozens of subscribers one after the other, each with a
// message that is never acked.
func inGroup(server *redistest.Server, change ...func(*redisstream.SubscriberConfig)) tests.ConsumerGroupPubSubConstructor {
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		client := server.Client(t)
		redisstream.EnableBusyPolling(client) // as for clients of Connect
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
		require.NoError(t, err)
		config := redisstream.SubscriberConfig{Client: client, ConsumerGroup: group, CloseTimeout: 100 * time.Millisecond}
		for _, f := range change {
			f(&config)
		}
		subscriber, err := redisstream.NewSubscriber(config, nil)
		require.NoError(t, err)
		t.Cleanup(func() { // the suite does not close all of them
			require.NoError(t, subscriber.Close())
			require.NoError(t, publisher.Close())
		})
		return publisher, subscriber
	}
}

// ofItsOwn puts each Pub/Sub into its own group, so that it gets all messages, including old ones.
func ofItsOwn(construct tests.ConsumerGroupPubSubConstructor) tests.PubSubConstructor {
	return func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return construct(t, watermill.NewShortUUID())
	}
}

func TestPubSub(t *testing.T) {
	t.Parallel()
	construct := inGroup(redistest.Shared())
	tests.TestPubSub(t, features(), ofItsOwn(construct), construct)
}

// All Pub/Subs share a group: its members hand over what they leave.
func TestPubSub_sharedGroup(t *testing.T) {
	t.Parallel()
	construct := inGroup(redistest.Shared())
	shared := features()
	shared.NewSubscriberReceivesOldMessages = false // an earlier member got them
	tests.TestPubSub(t, shared, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return construct(t, "shared")
	}, construct)
}

// TestMain sets how often it runs the suite.
func TestPubSub_stress(t *testing.T) {
	t.Parallel()
	construct := inGroup(redistest.Shared())
	tests.TestPubSubStressTest(t, features(), ofItsOwn(construct), construct)
}
