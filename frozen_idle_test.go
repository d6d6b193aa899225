package redisstream_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server whose clock was set back shows no idle time for what is pending. What a dead consumer has is taken over all the
// same; what a live one holds is not.
func TestFrozenIdle_clockSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t, 0)
	b := newBenchOn(t, server)
	b.publish(11)
	b.handOut("dead", 10)
	config := fastClaims()
	holding := config
	holding.ClaimInterval = -1
	_, live := b.subscribe(holding)
	held := receive(t, live)
	assert.Equal(t, "10", string(held.Payload))

	require.NoError(t, server.SetClock(-time.Hour))
	config.MaxInFlight = 4
	_, messages := b.subscribe(config)
	assert.ElementsMatch(t, upTo(10), receiveAll(t, messages, 10))
	nothingComes(t, live, 2*config.ClaimMinIdle)
	require.NoError(t, held.Context().Err(), "its lease is kept")
	held.Ack()
	b.eventually("acknowledged", func() bool { return b.pending() == 0 })
}
