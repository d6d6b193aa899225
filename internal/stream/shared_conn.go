package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// unwatched is how often a reader looks for entries while it has no watch.
const unwatched = 500 * time.Millisecond

// errNoneFree ends a command for which no connection was free in time.
var errNoneFree = fmt.Errorf("all read connections are in use: %w", redis.ErrPoolTimeout)

// sharedConn is the part of ReadConns that one reader uses. It borrows a connection for each
// command. No read blocks on the server: the watch tells when to read.
type sharedConn struct {
	conns       *ReadConns
	key         string
	topology    *topology // nil: the client is none of a cluster
	reconnected func()
	spot        *spot // of the watch

	limit   Limit
	took    time.Duration // TransferTime of the last reply
	server  *readServer   // of the last command
	breaks  int64         // the server's at that time
	large   bool          // the last reply was no smallReply
	rare    bool          // the last read with entries had to wait for them
	renewed bool          // for wasRenewed
	another bool          // reconnected is to be called

	stopped chan struct{} // closed by Interrupt
	stop    sync.Once
	mu      sync.Mutex
	using   *lentConn
}

// Share makes the Group read on connections that it shares with others. It is called before any
// other method.
func (g *Group) Share(conns *ReadConns) { g.readConn = newSharedConn(conns, g.key) }

// Share makes the Fanout read on connections that it shares with others. It is called before any
// other method.
func (f *Fanout) Share(conns *ReadConns) { f.readConn = newSharedConn(conns, f.key) }

func newSharedConn(conns *ReadConns, key string) *sharedConn {
	return &sharedConn{
		conns: conns, key: key, topology: newTopology(conns.origin), reconnected: func() {},
		spot: newSpot(key), stopped: make(chan struct{}),
	}
}

// await is part of readConn. An entry that comes between a read and the watch is not missed: the
// watch also wakes us when it has begun. Where entries are rare the next read would be in vain, so the
// watch begins before it.
func (c *sharedConn) await(ctx context.Context, block time.Duration, read func(time.Duration) ([]Entry, error)) ([]Entry, error) {
	end := time.Now().Add(block)
	if c.rare && c.spot.begins(c.server.watch) && !c.sleep(ctx, min(block, unwatched)) {
		c.spot.leave()
		return nil, errInterrupted
	}
	for waited := false; ; waited = true {
		c.spot.forgetWake()
		entries, err := read(noBlock)
		if len(entries) > 0 || err != nil {
			c.rare = waited
			return entries, err
		}
		wait := time.Until(end)
		if wait <= 0 {
			return nil, nil
		}
		if !c.spot.watchedBy(c.server.watch) {
			wait = min(wait, unwatched)
		}
		if !c.sleep(ctx, wait) {
			c.spot.leave()
			return nil, errInterrupted
		}
		if !time.Now().Before(end) {
			return nil, nil
		}
	}
}

// sleep waits for the watch, at most for the given time. It reports whether reading goes on.
func (c *sharedConn) sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.spot.wake:
	case <-timer.C:
	case <-c.stopped:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

// onPrivate is part of readConn.
func (c *sharedConn) onPrivate(ctx context.Context, block time.Duration, run func(context.Context, privateClient) error) error {
	return c.borrow(ctx, func(conn *privateConn) error { return conn.onPrivate(ctx, block, run) })
}

// onPrivateDecoded is part of readConn.
func (c *sharedConn) onPrivateDecoded(
	ctx context.Context, block time.Duration, run func(context.Context, privateClient) error, decode func(*decoder) error,
) error {
	return c.borrow(ctx, func(conn *privateConn) error { return conn.onPrivateDecoded(ctx, block, run, decode) })
}

// borrow runs a command on a connection to the server that has the stream.
func (c *sharedConn) borrow(ctx context.Context, run func(*privateConn) error) error {
	server, err := c.conns.serverOf(ctx, c.key)
	if err != nil {
		return err
	}
	conn, err := c.take(ctx, server)
	if err != nil {
		return err
	}
	return c.on(server, conn, run)
}

// on runs a command on a connection that was taken, and gives it back.
func (c *sharedConn) on(server *readServer, conn *lentConn, run func(*privateConn) error) error {
	defer server.giveBack(conn)
	if !c.use(conn) {
		return errInterrupted
	}
	defer c.use(nil)
	wasOpen := conn.isOpen()
	err := c.runOn(conn.privateConn, run)
	if addr, ask := redis.IsAskError(err); ask {
		conn.ask("") // it serves other slots, too
		err = c.runAsking(conn.origin, addr, run)
	}
	server.learn(conn, err, wasOpen)
	c.notice(server, err)
	return err
}

func (c *sharedConn) runOn(conn *privateConn, run func(*privateConn) error) error {
	conn.limitReply(c.limit)
	err := run(conn)
	conn.decoder = decoder{} // its list of entries is ours
	c.took = conn.TransferTime()
	return err
}

// runAsking runs a command on the node that a slot is moving to, on a connection of its own.
func (c *sharedConn) runAsking(origin redis.UniversalClient, addr string, run func(*privateConn) error) error {
	conn := newPrivateConn(origin, c.key)
	defer conn.Close()
	conn.ask(addr)
	return c.runOn(conn, run)
}

// take waits for a free connection.
func (c *sharedConn) take(ctx context.Context, server *readServer) (*lentConn, error) {
	select {
	case conn := <-server.free:
		return server.take(conn), nil
	default:
	}
	timer := time.NewTimer(server.timeout)
	defer timer.Stop()
	select {
	case conn := <-server.free:
		return server.take(conn), nil
	case <-timer.C:
		return nil, errNoneFree
	case <-c.stopped:
		return nil, errInterrupted
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// use records which connection is in use, for Interrupt. It reports false after Interrupt.
func (c *sharedConn) use(conn *lentConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.using = conn
	select {
	case <-c.stopped:
		c.using = nil
		return false
	default:
		return true
	}
}

// learn draws conclusions from what a command returned: is the connection broken, and are the
// others?
func (s *readServer) learn(conn *lentConn, err error, wasOpen bool) {
	_, refused := errors.AsType[redis.Error](err)
	switch {
	case err == nil || refused && !isOfReplica(err):
	case errors.Is(err, ErrTooLarge):
		conn.drop()
	default:
		conn.drop()
		s.broke(conn)
	}
	if conn.dialled && wasOpen { // go-redis found it closed, and dialled by itself
		s.broke(conn)
	}
}

// notice finds out whether the connections broke since the last command.
func (c *sharedConn) notice(server *readServer, err error) {
	if breaks := server.breaks.Load(); c.server != server || c.breaks != breaks {
		if c.server != nil {
			c.renewed, c.another = true, true
		}
		c.server, c.breaks = server, breaks
	}
	if c.another && err == nil {
		c.another = false
		c.reconnected()
	}
}

// isOfReplica reports whether a refusal says that the server is no master any more.
func isOfReplica(err error) bool {
	return redis.IsReadOnlyError(err) || redis.IsMasterDownError(err)
}

// broke records that a connection was lost. The next use of each other one dials again.
func (s *readServer) broke(conn *lentConn) {
	if conn.breaks == s.breaks.Load() { // not the second one of an outage
		conn.breaks = s.breaks.Add(1)
	}
}

// limitReply is part of readConn.
func (c *sharedConn) limitReply(limit Limit) { c.limit = limit }

// TransferTime is part of readConn.
func (c *sharedConn) TransferTime() time.Duration { return c.took }

// wasRenewed is part of readConn.
func (c *sharedConn) wasRenewed() bool {
	renewed := c.renewed
	c.renewed = false
	return renewed
}

// OnReconnect is part of readConn.
func (c *sharedConn) OnReconnect(reconnected func()) { c.reconnected = reconnected }

// Reset is part of readConn. What was broken is dropped already.
func (c *sharedConn) Reset(ctx context.Context) {
	if c.topology != nil {
		c.topology.cluster.ReloadState(ctx)
		c.topology.refreshAndWait(ctx)
	}
}

// Interrupt is part of readConn. A command that runs has a moment left: its reply may have entries.
func (c *sharedConn) Interrupt() {
	c.stop.Do(func() {
		close(c.stopped)
		c.mu.Lock()
		defer c.mu.Unlock()
		if conn := c.using; conn != nil {
			time.AfterFunc(hangUpGrace, func() { c.cut(conn) })
		}
	})
}

// cut drops a connection that is still in use by us.
func (c *sharedConn) cut(conn *lentConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.using == conn {
		conn.drop()
	}
}

// Close is part of readConn.
func (c *sharedConn) Close() {
	c.Interrupt()
	c.spot.leave()
}
