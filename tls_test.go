package redisstream_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newTLSBench returns a bench whose client speaks TLS with the server.
func newTLSBench(t *testing.T) *bench {
	t.Helper()
	b := newBenchOn(t, redistest.StartTLS(t))
	client, err := redisstream.Connect(t.Context(), "rediss://"+b.server.TLSAddr+"?skip_verify=true&client_name="+b.topic)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	b.client = client.(*redis.Client)
	require.NotNil(t, b.client.Options().TLSConfig)
	return b
}

func TestTLS_core(t *testing.T) {
	t.Parallel()
	b := newTLSBench(t)
	subscriber, messages := b.subscribe(fastClaims())
	_, all := b.subscribe(redisstream.SubscriberConfig{})
	b.publish(200)
	receive(t, messages).Nack()
	assert.Equal(t, upTo(100), receiveAll(t, messages, 100))
	assert.Equal(t, upTo(200), receiveAll(t, all, 200))
	require.NoError(t, subscriber.Close())
	_, messages = b.subscribe(fastClaims())
	assert.Equal(t, upTo(200)[100:], receiveAll(t, messages, 100))
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
}

// A read is ended by closing our side only. In TLS that is an alert, and the server hangs up on it as it does on the
// end of a plain connection: else Close would take as long as it takes to lose patience with the server.
func TestTLS_closeOfAnIdleSubscription(t *testing.T) {
	t.Parallel()
	b := newTLSBench(t)
	quickest := time.Hour
	for range 10 { // on a busy machine not each of them is quick
		subscriber, _ := b.subscribe(inGroupG())
		b.eventually("the reader waits", func() bool { return b.blockedReaders() == 1 })
		began := time.Now()
		require.NoError(t, subscriber.Close())
		took := time.Since(began)
		assert.Less(t, took, quick)
		quickest = min(quickest, took)
	}
	t.Log("quickest of 10:", quickest)
	assert.Less(t, quickest, 50*time.Millisecond)
}

func TestTLS_closeLosesNothingThatIsJustComing(t *testing.T) {
	t.Parallel()
	newTLSBench(t).losesNothingAtClose(1000)
}
