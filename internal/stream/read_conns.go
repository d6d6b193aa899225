package stream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// serverUnused is how long the connections to a server stay open that no reader used, once readers
// use another server.
const serverUnused = time.Minute

// ReadConns are connections that the readers of many subscriptions share: a fixed number to each
// server. One of them watches for new entries. A reader borrows one of the others for one command.
type ReadConns struct {
	origin redis.UniversalClient
	lent   int // to each server: how many are borrowed from

	onWatch func(addr string, err error)

	mu      sync.Mutex
	servers map[string]*readServer // by address
	closed  bool
}

// readServer has the connections to one server.
type readServer struct {
	all     []*lentConn
	free    chan *lentConn // those that nobody uses
	breaks  atomic.Int64   // how often one was found broken: the next one may lead to another server
	watch   *watch
	usedAt  time.Time     // ReadConns.mu guards it
	timeout time.Duration // how long a reader waits for a free one
	reads   chan *sharedRead
	running sync.WaitGroup
	ended   context.Context //nolint:containedctx // that of the goroutines
	end     context.CancelFunc
}

// lentConn is a connection that one reader at a time uses.
type lentConn struct {
	*privateConn

	breaks  int64 // those of the server when it was dialled
	dialled bool  // during the present command
}

// NewReadConns returns n connections to each server, which are dialled when they are needed. onWatch
// is called when no watch could be opened, and with a nil error when there is one again.
func NewReadConns(client redis.UniversalClient, n int, onWatch func(addr string, err error)) *ReadConns {
	return &ReadConns{origin: client, lent: n - 1, onWatch: onWatch, servers: make(map[string]*readServer)}
}

// serverOf returns the connections to the server that holds key.
func (r *ReadConns) serverOf(ctx context.Context, key string) (*readServer, error) {
	found, err := node(ctx, r.origin, key)
	if err != nil {
		return nil, err
	}
	options := found.Options()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errInterrupted
	}
	server := r.servers[options.Addr]
	if server == nil {
		r.closeUnused()
		client, _ := found.(redis.UniversalClient) // it is one: node found it in one
		server = r.newServer(client, options)
		r.servers[options.Addr] = server
	}
	server.usedAt = time.Now()
	return server, nil
}

func (r *ReadConns) newServer(client redis.UniversalClient, options *redis.Options) *readServer {
	server := &readServer{
		free: make(chan *lentConn, r.lent), timeout: replyTimeout(options),
		reads: make(chan *sharedRead, readsTogether),
	}
	server.ended, server.end = context.WithCancel(context.Background())
	for range r.lent {
		conn := &lentConn{privateConn: newPrivateConn(client, "")}
		conn.onConnected = func(bool) { conn.dialled = true }
		server.all = append(server.all, conn)
		server.free <- conn
		server.running.Go(server.serveReads)
	}
	server.watch = newWatch(client, func(err error) { r.onWatch(options.Addr, err) })
	return server
}

// closeUnused closes the connections to servers that nobody uses any more: addresses change where
// nodes are replaced.
func (r *ReadConns) closeUnused() {
	for addr, server := range r.servers {
		if time.Since(server.usedAt) > serverUnused {
			delete(r.servers, addr)
			server.close()
		}
	}
}

// Check opens the watch of the server that holds key, and returns why the server refuses it. Other
// failures are left to the readers.
func (r *ReadConns) Check(ctx context.Context, key string) error {
	server, err := r.serverOf(ctx, key)
	if err != nil {
		return nil //nolint:nilerr // the first read reports it, and goes on
	}
	return server.watch.check(ctx)
}

// Close closes all connections. A command that runs ends with an error.
func (r *ReadConns) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, server := range r.servers {
		server.close()
	}
}

// take returns a connection that a reader had to wait for, or had not. If any connection broke since
// it was dialled, it is dialled again: all readers then use the same server.
func (s *readServer) take(conn *lentConn) *lentConn {
	if breaks := s.breaks.Load(); conn.breaks != breaks {
		conn.drop()
		conn.breaks = breaks
	}
	conn.dialled = false
	return conn
}

// giveBack ends the use of a connection.
func (s *readServer) giveBack(conn *lentConn) {
	conn.limitReply(Limit{})
	s.free <- conn
}

// close closes the connections. What runs on them ends with an error.
func (s *readServer) close() {
	s.end()
	for _, conn := range s.all {
		conn.Close()
	}
	s.watch.close()
	s.running.Wait()
}
