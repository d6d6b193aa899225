package connecting

import (
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTLS_core(t *testing.T) {
	t.Parallel()
	b := fixture.NewTLS(t)
	subscriber, messages := b.Subscribe(fixture.FastClaimConfig())
	_, all := b.Subscribe(redisstream.SubscriberConfig{})
	b.Publish(200)
	fixture.Receive(t, messages).Nack()
	assert.Equal(t, fixture.Payloads(100), fixture.ReceiveAll(t, messages, 100))
	assert.Equal(t, fixture.Payloads(200), fixture.ReceiveAll(t, all, 200))
	require.NoError(t, subscriber.Close())
	_, messages = b.Subscribe(fixture.FastClaimConfig())
	assert.Equal(t, fixture.Payloads(200)[100:], fixture.ReceiveAll(t, messages, 100))
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}
