// Package busypoll makes connections whose readers poll for a short time before they park. A
// goroutine that parks on a socket lets its thread sleep. On idle cores, falling asleep and waking
// up takes longer than a reply of a server on the same machine or rack.
package busypoll

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// PollTime is how long a reader polls at most. benchmarks/BUSYPOLL.md has the figures that chose it:
// the replies of a near server come within it, and more gains nothing. Only that benchmark sets it.
var PollTime = 100 * time.Microsecond

const (
	// After pollsPerYield polls a reader lets other goroutines run.
	pollsPerYield = 4
	// A reply that does not come within PollTime costs missPoints. One that comes in time takes one
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
	// commands counts those in flight whose caller waits for the reply. While there are none, no
	// reader polls.
	commands atomic.Int32
}

// Begin begins a command with the given context. It reports whether its caller waits for the reply;
// then the caller calls End when the reply is there.
func (p *Poller) Begin(ctx context.Context) bool {
	if ctx.Value(patientKey{}) != nil {
		return false
	}
	p.commands.Add(1)
	return true
}

// End ends a command.
func (p *Poller) End() { p.commands.Add(-1) }

type patientKey struct{}

// Patient returns a context for commands whose replies nobody waits for. No reader polls for them:
// it would take a core from those who have work to do.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patientKey{}, true) }

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
	if len(p) == 0 || c.poller.commands.Load() == 0 || !c.poller.polling.CompareAndSwap(false, true) {
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
