package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// errInterrupted ends a read that Interrupt stopped.
var errInterrupted = errors.New("connection was interrupted")

// hangUpGrace is how long a server may take to answer our half-close before the socket is closed.
const hangUpGrace = 100 * time.Millisecond

// serverClock is how late a server may end a block. It checks its clock "hz" times a second: 10 by
// default, and 1 at least.
const serverClock = time.Second

// ownReadBuffer and ownWriteBuffer are the sizes of go-redis's buffers, of which each subscription
// has two. Large replies are captured, and commands are short: the usual 32 KiB would be wasted.
const (
	ownReadBuffer  = 1 << 10
	ownWriteBuffer = 1 << 10
)

// privateConn is one connection for blocking reads. On the user's pool a blocked read would hold
// one of the connections, and Interrupt needs the socket itself. It is dialled with the options of
// the user's client at its first use, and again after Reset. One goroutine uses it; others may call
// Interrupt and Close.
type privateConn struct {
	origin   redis.UniversalClient // whose options it is dialled with
	key      string
	topology *topology // nil: the client is none of a cluster
	grace    time.Duration

	protocol    int                // that the connection speaks; 0: that of the client
	onConnected func(another bool) // called after the server accepted a connection, not the first one or the first; nil: it is not
	connected   bool               // there was a connection

	mu          sync.Mutex
	client      *redis.Client
	timeout     time.Duration // how long a reply may take, after the end of a block
	socket      net.Conn
	interrupted bool
	asked       string // the node that has the stream already while its slot moves; empty: none

	meter
	captured *captured // of the client
	decoder  decoder
}

// newPrivateConn returns a privateConn to the server that holds key.
func newPrivateConn(origin redis.UniversalClient, key string) *privateConn {
	return &privateConn{origin: origin, key: key, topology: newTopology(origin), grace: hangUpGrace}
}

// open returns the private client, and creates it if there is none. It dials by itself, because
// go-redis logs each attempt that fails.
func (c *privateConn) open(ctx context.Context) (*redis.Client, error) {
	c.mu.Lock()
	client, interrupted := c.client, c.interrupted
	c.mu.Unlock()
	if interrupted {
		return nil, errInterrupted
	}
	if client != nil {
		return client, nil
	}
	master, err := node(ctx, c.origin, c.key)
	if err != nil {
		return nil, err
	}
	shared := master.Options()
	c.mu.Lock()
	asked := c.asked
	c.asked = ""
	c.mu.Unlock()
	if asked != "" {
		moving := *shared
		moving.Addr = asked
		shared = &moving
	}
	socket, err := c.dial(ctx, shared)
	if err != nil {
		return nil, err
	}
	client = redis.NewClient(c.options(shared, socket))
	if asked != "" {
		client.AddHook(asking{})
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = client
	return client, nil
}

// options returns the options of the user's client, changed for one connection, whose socket is
// already open.
func (c *privateConn) options(shared *redis.Options, socket net.Conn) *redis.Options {
	own := *shared
	replies := new(captured)
	c.captured = replies
	c.timeout = replyTimeout(&own)
	own.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if socket != nil {
			first := socket
			socket = nil
			return c.metered(first, replies), nil
		}
		again, err := c.dial(ctx, shared)
		if errors.Is(err, errInterrupted) {
			return hungUp(), nil
		}
		if err != nil {
			return nil, err
		}
		return c.metered(again, replies), nil
	}
	own.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if shared.OnConnect != nil {
			if err := shared.OnConnect(ctx, conn); err != nil {
				return err
			}
		}
		replies.ready.Store(true)
		if c.onConnected != nil {
			c.onConnected(c.connected)
		}
		c.connected = true
		return nil
	}
	own.ReadBufferSize, own.WriteBufferSize = ownReadBuffer, ownWriteBuffer
	own.PoolSize, own.MinIdleConns, own.MaxActiveConns, own.PipelinePoolSize = 1, 0, 0, -1
	if c.protocol != 0 {
		own.Protocol = c.protocol
	}
	own.MaxRetries = -1 // a lost reply leaves entries pending, and the reader has to know
	own.DialerRetries = 1
	own.ConnMaxIdleTime = -1
	own.ReadTimeout, own.WriteTimeout = -1, c.timeout // contexts bound all reads, and those that block take longer
	own.ContextTimeoutEnabled = true
	own.Limiter, own.ClientSideCacheConfig, own.ClientSideCache = nil, nil, nil
	own.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &own
}

// replyTimeout is how long a reply may take.
func replyTimeout(o *redis.Options) time.Duration {
	if o.ReadTimeout <= 0 {
		return 5 * time.Second
	}
	return o.ReadTimeout
}

// metered wraps a new connection.
func (c *privateConn) metered(socket net.Conn, replies *captured) net.Conn {
	replies.ready.Store(false)
	return metered{socket, &capture{captured: replies, conn: measured{socket, &c.meter}}}
}

// dial opens the socket and keeps it, so that Interrupt can close it.
func (c *privateConn) dial(ctx context.Context, shared *redis.Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, shared.DialTimeout)
	defer cancel()
	socket, err := shared.Dialer(ctx, shared.Network, shared.Addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		return nil, errors.Join(errInterrupted, socket.Close())
	}
	c.socket = socket
	return socket, nil
}

// hungUp returns a connection that is already closed.
func hungUp() net.Conn {
	near, far := net.Pipe()
	_ = far.Close()
	return near
}

// onPrivate runs a command that may block on the server for the given time.
func (c *privateConn) onPrivate(ctx context.Context, block time.Duration, run func(context.Context, privateClient) error) error {
	if !c.isOpen() {
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	return c.onOpened(ctx, block, run)
}

// connect opens the connection in a goroutine of its own: dialling and the handshake need a large
// stack, which the reader would keep. go-redis connects at the first command. It is HELLO, which
// every user may send.
func (c *privateConn) connect(ctx context.Context) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = c.onOpened(ctx, 0, func(ctx context.Context, client privateClient) error { return client.Do(ctx, "hello").Err() })
	}()
	<-done
	if _, refused := errors.AsType[redis.Error](err); refused {
		return nil // there is a connection; the command meets what is wrong
	}
	return err
}

// isOpen reports whether there is a connection.
func (c *privateConn) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client != nil
}

func (c *privateConn) onOpened(ctx context.Context, block time.Duration, run func(context.Context, privateClient) error) error {
	client, err := c.open(ctx)
	if err != nil {
		return err
	}
	timeout := c.timeout
	if block > 0 {
		timeout = max(timeout, serverClock)
	}
	// go-redis would wait ten seconds after the end of the block for a silent server. The end of
	// ctx does not end a read: Interrupt does.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), block+timeout)
	defer cancel()
	c.begin()
	err = run(ctx, privateClient{client})
	if addr, ask := redis.IsAskError(err); ask {
		c.ask(addr)
	}
	return err
}

// ask makes the next connection lead to a node that a slot is moving to; empty: to the one that has
// the slot.
func (c *privateConn) ask(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = addr
}

// readEntries is part of readConn.
func (c *privateConn) readEntries(ctx context.Context, block time.Duration, read readCommand) (entries []Entry, err error) {
	err = c.onPrivateDecoded(ctx, block, func(ctx context.Context, client privateClient) error {
		return read(ctx, client).Err()
	}, func(d *decoder) (err error) {
		entries, err = d.streams()
		return err
	})
	if noneWaiting(err) {
		return nil, nil
	}
	return entries, err
}

// await is part of readConn: the server blocks the read.
func (*privateConn) await(_ context.Context, block time.Duration, read func(time.Duration) ([]Entry, error)) ([]Entry, error) {
	return read(block)
}

// OnReconnect is part of readConn.
func (c *privateConn) OnReconnect(reconnected func()) {
	c.onConnected = func(another bool) {
		if another {
			reconnected()
		}
	}
}

// wasRenewed is part of readConn. Nobody else dials, and Reset is called after each error.
func (*privateConn) wasRenewed() bool { return false }

// onPrivateDecoded is onPrivate for a command whose reply is decoded here, and not by go-redis.
func (c *privateConn) onPrivateDecoded(
	ctx context.Context, block time.Duration, run func(context.Context, privateClient) error, decode func(*decoder) error,
) error {
	return c.onPrivate(ctx, block, func(ctx context.Context, client privateClient) error {
		c.captured.arm()
		err := run(ctx, client)
		reply, taken := c.captured.disarm()
		defer c.captured.release()
		if err != nil {
			c.decoder = decoder{} // nothing comes: its memory is of no use
			return err
		}
		if !taken {
			return fmt.Errorf("%w: no list", errMalformed)
		}
		c.decoder.start(reply)
		err = decode(&c.decoder)
		c.decoder.reply = nil // the buffer may be freed
		return err
	})
}

// asking sends ASKING before each command, to a node that a slot is moving to.
type asking struct{}

func (asking) DialHook(next redis.DialHook) redis.DialHook { return next }

func (asking) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		asked := make([]redis.Cmder, 0, 2*len(commands))
		for _, command := range commands {
			asked = append(asked, redis.NewStatusCmd(ctx, "asking"), command)
		}
		return next(ctx, asked)
	}
}

func (asking) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if err := next(ctx, redis.NewStatusCmd(ctx, "asking")); err != nil {
			command.SetErr(err)
			return err
		}
		return next(ctx, command)
	}
}

// Reset drops the connection after an error. The next command dials again; in a cluster it dials
// the node that has the stream then.
func (c *privateConn) Reset(ctx context.Context) {
	c.drop()
	if c.topology != nil {
		c.topology.cluster.ReloadState(ctx)
		c.topology.refreshAndWait(ctx)
	}
}

func (c *privateConn) drop() {
	c.mu.Lock()
	client, socket := c.client, c.socket
	c.client, c.socket = nil, nil
	c.mu.Unlock()
	if client != nil {
		_ = client.Close() // it is gone either way
	}
	if socket != nil {
		_ = socket.Close() // it may not have come to the client's pool
	}
}

// Interrupt ends a blocked read at once, and prevents further dialling. It closes only our sending
// side, and the server then closes the connection. So when the read ends with the end of the
// connection, the server hands out nothing more to it.
func (c *privateConn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		return
	}
	c.interrupted = true
	if c.socket == nil {
		return
	}
	socket := c.socket
	half, ok := socket.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = socket.Close()
		return
	}
	time.AfterFunc(c.grace, func() { _ = socket.Close() })
}

// Close interrupts and frees the connection. Safe to repeat.
func (c *privateConn) Close() {
	c.Interrupt()
	c.drop()
}
