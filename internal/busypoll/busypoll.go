// Package busypoll makes connections whose readers poll for a short time before they park. A
// goroutine that parks on a socket lets its thread sleep. On idle cores, falling asleep and waking
// up takes longer than a reply of a server on the same machine or rack.
package busypoll

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// pollTime is how long a reader polls at most. It is about the cost of parking, so that polling
	// without success at most doubles that cost.
	pollTime = 100 * time.Microsecond
	// After pollsPerYield polls a reader lets other goroutines run.
	pollsPerYield = 4
	// A reply that does not come within pollTime costs missPoints. One that comes in time takes one
	// point off. From the second miss in a row on, the next reads park at once: 2 of them, then 6,
	// 14 and so on, up to 1022. This keeps the waste small when the server is far away or a read
	// waits for new entries.
	missPoints    = 2
	maxMissPoints = 10 * missPoints
)

// Poller is the state that the connections of one client share. The zero value is ready for use.
type Poller struct {
	// polling is set while one of the readers polls. A second one would take a core from goroutines
	// that have work to do, or from a server on the same machine.
	polling atomic.Bool
	// pays is set if the last polling readers got replies.
	pays atomic.Bool
}

// Pays reports whether replies come while a reader polls. More parallel round trips are then no
// gain: only one reader polls, the others park.
func (p *Poller) Pays() bool { return p.pays.Load() }

// socket has the methods that *net.TCPConn and *net.UnixConn share.
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
	missed atomic.Int32 // points for late replies
	skip   atomic.Int32 // this number of reads park at once
}

// Wrap returns the connection to use instead of the given one. It returns the given one if that is
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

// Read implements net.Conn.
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
