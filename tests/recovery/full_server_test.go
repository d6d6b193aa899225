package recovery

import (
	"context"
	"testing"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusing makes the server refuse writes until the returned function is called.
func refusing(b *fixture.Bench, setting, value, normal, refusal string) (again func()) {
	b.Helper()
	require.NoError(b, b.Client.ConfigSet(b.Context(), setting, value).Err())
	err := b.Client.XGroupCreate(b.Context(), b.Topic, "another", "0").Err()
	require.ErrorContains(b, err, refusal)
	return func() {
		require.NoError(b, b.Client.ConfigSet(context.WithoutCancel(b.Context()), setting, normal).Err())
	}
}

// A restarted consumer drains the backlog of a server whose memory is full. That frees memory.
func TestOutage_fullServerIsDrained(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t, "--maxmemory-policy", "noeviction"))
	b.Publish(20)
	config := fixture.FastClaimConfig()
	config.TrimInterval = config.ClaimInterval
	first, messages := b.Subscribe(config)
	fixture.ReceiveAll(t, messages, 5)
	require.NoError(t, first.Close())
	defer refusing(b, "maxmemory", "1", "0", "OOM")()

	subscriber := b.Subscriber(config)
	require.NoError(t, subscriber.SubscribeInitialize(b.Topic))
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	assert.Equal(t, fixture.Payloads(20)[5:], fixture.ReceiveAll(t, messages, 15))
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	b.Eventually("trimmed", func() bool { return b.Len() == 0 })
}

// A server with too few replicas refuses even reads of a group. A subscription waits until it has
// enough.
func TestOutage_subscriptionWaitsForReplicas(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	b.Publish(3)
	config := fixture.FastClaimConfig()
	config.NackBackoff = nil
	require.NoError(t, b.Subscriber(config).SubscribeInitialize(b.Topic))
	again := refusing(b, "min-replicas-to-write", "1", "0", "NOREPLICAS")
	subscriber := b.Subscriber(config)
	require.NoError(t, subscriber.SubscribeInitialize(b.Topic))
	messages, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.NoError(t, err)
	again()
	assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}

// A full server can't create a group. The error has the reason.
func TestOutage_groupThatAFullServerCannotCreate(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t, "--maxmemory-policy", "noeviction"))
	b.Publish(1)
	defer refusing(b, "maxmemory", "1", "0", "OOM")()
	subscriber := b.Subscriber(fixture.GroupConfig())
	_, err := subscriber.Subscribe(t.Context(), b.Topic)
	require.ErrorContains(t, err, "OOM")
	require.ErrorContains(t, err, b.Topic)
	require.ErrorContains(t, subscriber.SubscribeInitialize(b.Topic), "OOM")
}
