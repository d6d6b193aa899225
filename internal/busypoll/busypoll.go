// Package busypoll makes connections whose readers poll for a moment before they park. A goroutine
// that parks on a socket puts its thread to sleep. Where cores are idle, falling asleep and waking
// up takes longer than a server on the same machine or rack needs to answer.
package busypoll

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// pollTime is how long a reader polls at most: about what parking costs, so that polling in
	// vain at most doubles that.
	pollTime = 100 * time.Microsecond
	// pollsPerYield is how many polls a reader makes before it lets other goroutines run.
	pollsPerYield = 4
	// A reply that does not come within pollTime costs missPoints, one that comes in time gives one
	// point back. From the second miss in a row on, the reads that follow park at once: 2 of them,
	// then 6, 14 and so on, up to 1022. So little time is wasted where the server is not close, or
	// where a read waits for new entries.
	missPoints    = 2
	maxMissPoints = 10 * missPoints
)

// Poller is what the connections of one client share. The zero value is ready for use.
type Poller struct {
	// polling is set while one of the readers polls. A second one would take a core from goroutines
	// that have work to do, and from a server on the same machine.
	polling atomic.Bool
	// pays tells whether the last readers that polled got replies.
	pays atomic.Bool
}

// Pays reports whether replies come while a reader polls for them. Then more round trips at the
// same time do not help, because only one reader polls and those of the others park.
func (p *Poller) Pays() bool { return p.pays.Load() }

// socket is what *net.TCPConn and *net.UnixConn have in common.
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// conn is a socket whose reader polls.
type conn struct {
	socket
	poller *Poller
	raw    syscall.RawConn
	missed atomic.Int32 // points for replies that did not come in time
	skip   atomic.Int32 // the next reads, of this number, park at once
}

// Wrap returns a connection to use in place of the given one. It returns the given one if that is
// not a plain socket (TLS), or if the operating system has no non-blocking read.
func (p *Poller) Wrap(given net.Conn) net.Conn {
	s, ok := given.(socket)
	if _, already := given.(*conn); already || !ok || !supported {
		return given
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return given
	}
	return &conn{socket: s, poller: p, raw: raw}
}

// Read is part of net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.skip.Load() > 0 {
		c.skip.Add(-1)
		return c.socket.Read(p)
	}
	if len(p) == 0 || !c.poller.polling.CompareAndSwap(false, true) {
		return c.socket.Read(p)
	}
	n, err := c.poll(p)
	c.poller.polling.Store(false)
	if err != nil {
		return n, err // neither a hit nor a miss
	}
	if n > 0 {
		c.missed.Store(max(c.missed.Load()-1, 0))
		c.poller.pays.Store(true)
		return n, nil
	}
	missed := min(c.missed.Load()+missPoints, maxMissPoints)
	c.missed.Store(missed)
	if missed > missPoints {
		c.skip.Store(1<<(missed/missPoints) - 2)
		c.poller.pays.Store(false)
	}
	return c.socket.Read(p)
}
