// Package awake makes connections whose reader stays awake for the moment in which a server close by answers.
// A goroutine that waits for a socket puts its thread to sleep, and where cores are idle, going to sleep and being
// woken up takes longer than the server needs.
package awake

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// patience is how long a reader stays awake at most: about what sleeping would have cost.
	patience = 100 * time.Microsecond
	// pollsPerTurn is how often a reader looks before it lets other goroutines run.
	pollsPerTurn = 4
	// Each reply that does not come in time costs missWeight points, each that does gives one back. From the second in a row
	// on, the next reads sleep at once: 2 of them, then 6, 14 and so on up to 1022. So hardly any time is wasted
	// where a server is not that close, or where reads wait for news.
	missWeight = 2
	maxMissed  = 10 * missWeight
)

var (
	// taken is for the one reader of the process that stays awake: two would take the cores from those who have something
	// to do, the server included.
	taken atomic.Bool
	// paying tells whether the last who stayed awake got replies.
	paying atomic.Bool
)

// Pays reports whether replies come while a reader stays awake for them. Round trips at the same time are of no
// use then, because the readers of the others sleep.
func Pays() bool { return paying.Load() }

// socket is what a *net.TCPConn and a *net.UnixConn have in common.
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// conn is a socket whose reader may stay awake.
type conn struct {
	socket
	raw    syscall.RawConn
	missed atomic.Int32 // points, for replies that did not come in time
	skip   atomic.Int32 // reads to come that sleep at once
}

// Wrap returns a connection that takes the place of the given one. It is that itself if it is no socket (TLS), or
// if the system knows no way.
func Wrap(given net.Conn) net.Conn {
	s, ok := given.(socket)
	if _, already := given.(*conn); already || !ok || !supported {
		return given
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return given
	}
	return &conn{socket: s, raw: raw}
}

// Read is part of net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.skip.Load() > 0 {
		c.skip.Add(-1)
		return c.socket.Read(p)
	}
	if len(p) == 0 || !taken.CompareAndSwap(false, true) {
		return c.socket.Read(p)
	}
	n, err := c.stayAwake(p)
	taken.Store(false)
	if err != nil {
		return n, err // no reply, neither early nor late
	}
	if n > 0 {
		c.missed.Store(max(c.missed.Load()-1, 0))
		paying.Store(true)
		return n, nil
	}
	missed := min(c.missed.Load()+missWeight, maxMissed)
	c.missed.Store(missed)
	if missed > missWeight {
		c.skip.Store(1<<(missed/missWeight) - 2)
		paying.Store(false)
	}
	return c.socket.Read(p)
}
