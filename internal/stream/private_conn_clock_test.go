package stream_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server looks at its clock 10 times a second, or less often: so much later does it end a block. A client whose ReadTimeout is
// shorter waits all the same.
func TestConn_idleReadsWithAShortReadTimeout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--hz", "2")
	client := server.Client(t, func(o *redis.Options) { o.ReadTimeout = 90 * time.Millisecond })
	key := ownKey(t)
	group := stream.NewGroup(client, key, groupName, "a")
	t.Cleanup(group.Close)
	add(t, server.Client(t), key, 1)
	one := stream.Limit{Count: 1}
	connected := func(_ []stream.Entry, err error) bool { return err == nil } // on a busy machine that may take longer
	require.Eventually(t, func() bool { return group.Join(t.Context(), "0") == nil }, soon, time.Millisecond)
	var fanout *stream.Fanout
	require.Eventually(t, func() bool {
		var err error
		fanout, err = stream.NewFanout(t.Context(), client, key, "0")
		return err == nil
	}, soon, time.Millisecond)
	t.Cleanup(fanout.Close)
	require.Eventually(t, func() bool { return connected(group.Read(t.Context(), one, time.Millisecond)) }, soon, time.Millisecond)
	require.Eventually(t, func() bool { return connected(fanout.Read(t.Context(), one, time.Millisecond)) }, soon, time.Millisecond)
	for _, block := range []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 130 * time.Millisecond} {
		_, err := group.Read(t.Context(), one, block)
		assert.NoError(t, err, "group, block %s", block)
		_, err = fanout.Read(t.Context(), one, block)
		assert.NoError(t, err, "fan-out, block %s", block)
	}
}
