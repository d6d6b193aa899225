package stream

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// ErrTooLarge ends a read whose reply exceeds its limit. The size of entries is unknown before they
// come.
var ErrTooLarge = errors.New("reply is larger than its limit")

// replySlack is what a reply may have beyond its limit: the limit is an estimate, and a reply is
// larger than its entries.
const replySlack = 64 << 10

// meter measures the reply that a connection reads.
type meter struct {
	limit atomic.Int64 // bytes; 0: none
	read  atomic.Int64
	first atomic.Int64 // when the first bytes of the reply came, since epoch
	last  atomic.Int64
}

var epoch = time.Now()

// begin is called before a command is sent.
func (m *meter) begin() {
	m.read.Store(0)
	m.first.Store(0)
	m.last.Store(0)
}

// TransferTime is the time between the first and the last bytes of the last reply.
func (m *meter) TransferTime() time.Duration { return time.Duration(m.last.Load() - m.first.Load()) }

// limitReply bounds the replies that follow; limit.Bytes 0: no bound. A reply of one entry has no
// bound, or the entry would never come.
func (m *meter) limitReply(limit Limit) {
	bytes := 0
	if limit.Count > 1 && limit.Bytes > 0 {
		bytes = 2*limit.Bytes + replySlack
	}
	m.limit.Store(int64(bytes))
}

// metered is a connection whose replies are measured, and captured on demand.
type metered struct {
	net.Conn
	replies io.Reader
}

// Read is part of net.Conn.
func (c metered) Read(p []byte) (int, error) { return c.replies.Read(p) }

// measured is the part of metered that measures.
type measured struct {
	net.Conn
	*meter
}

// Read is part of net.Conn.
func (c measured) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	now := int64(time.Since(epoch))
	read := c.read.Add(int64(n))
	if read == int64(n) {
		c.first.Store(now)
	}
	c.last.Store(now)
	if limit := c.limit.Load(); limit > 0 && read > limit {
		return n, ErrTooLarge
	}
	return n, err
}
