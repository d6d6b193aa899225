package publishing

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// firstReply passes one bulk string of a reply and then ends the connection.
type firstReply struct {
	net.Conn

	armed *atomic.Bool
}

func (c firstReply) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 || p[0] != '$' || !c.armed.Load() {
		return n, err
	}
	_ = c.Close()
	length := bytes.Index(p[:n], []byte("\r\n")) + 2
	return length + bytes.Index(p[length:n], []byte("\r\n")) + 2, io.EOF
}

// After a slot moved, the old node refuses the whole pipeline, and the client sends it to the new
// node. There the connection breaks after the first reply. The other messages are Uncertain,
// although the old node refused them.
func TestPublish_aPipelineThatIsCutAfterItsSlotMoved(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	topic := fixture.NewTopic(t)
	from, to := cluster.Master(t, topic), cluster.Other(t, topic)
	var armed atomic.Bool
	client := cluster.Client(t, func(o *redis.ClusterOptions) {
		o.ClusterStateReloadInterval = time.Hour
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil || addr == from.Addr {
				return conn, err
			}
			return firstReply{conn, &armed}, nil
		}
	})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, publisher.Publish(topic, fixture.Numbered("before", 1)...))
	cluster.MoveSlot(t, topic, to)
	armed.Store(true)
	err := publisher.Publish(topic, fixture.Numbered("m", 20)...)
	armed.Store(false)
	failure := fixture.AsPublishError(t, err)
	assert.Empty(t, failure.Failed, "all messages are in the stream")
	assert.Equal(t, []string{"m-0"}, fixture.UUIDs(failure.Published))
	assert.Len(t, failure.Uncertain, 19)
	assert.Len(t, fixture.StoredUUIDs(t, to.Client(t), topic), 21)
}
