package redistest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy is a TCP proxy to a server whose connections can be delayed, watched and cut, and that can have a bandwidth or hang.
type Proxy struct {
	Addr     string
	listener net.Listener
	target   string
	delay    time.Duration // in each direction

	mu       sync.Mutex
	pairs    map[*pair]struct{}
	closed   bool
	wg       sync.WaitGroup
	onSend   atomic.Pointer[Filter]
	onReply  atomic.Pointer[Filter]
	accepted atomic.Int64
	up, down link // to the server, and back
	gate     gate
	ended    chan struct{}
}

// Filter sees each chunk of bytes on its way. It returns how many of them to pass on, and whether
// to cut the connection after that.
type Filter func(chunk []byte) (pass int, cut bool)

type pair struct {
	client, server net.Conn
	once           sync.Once
	ended          chan struct{}
}

// NewProxy starts a proxy to target that adds delay in each direction. It ends with the test.
func NewProxy(tb testing.TB, target string, delay time.Duration) *Proxy {
	tb.Helper()
	p, err := LaunchProxy(target, delay)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// LaunchProxy starts a proxy outside of a test; the caller calls Close.
func LaunchProxy(target string, delay time.Duration) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		Addr: listener.Addr().String(), listener: listener, target: target, delay: delay,
		pairs: map[*pair]struct{}{}, ended: make(chan struct{}),
	}
	p.wg.Go(p.serve)
	return p, nil
}

// OnSend sets a filter for what clients send; nil: none.
func (p *Proxy) OnSend(f Filter) { p.onSend.Store(&f) }

// OnReply sets a filter for what the server replies; nil: none.
func (p *Proxy) OnReply(f Filter) { p.onReply.Store(&f) }

// Accepted is how many connections were made.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Throttle gives each direction a bandwidth that all connections share; 0: no limit. What has no room waits with its sender,
// as on a slow link, but for what the system's socket buffers take.
func (p *Proxy) Throttle(bytesPerSecond int) {
	p.up.rate.Store(int64(bytesPerSecond))
	p.down.rate.Store(int64(bytesPerSecond))
}

// Carried is how many bytes were passed on to the server, and back.
func (p *Proxy) Carried() (sent, replied int64) { return p.up.carried.Load(), p.down.carried.Load() }

// Hang makes the network hang until Resume: connections can be made, and carry nothing.
func (p *Proxy) Hang() { p.gate.close() }

// Resume lets a proxy that hangs go on, with all that was sent meanwhile.
func (p *Proxy) Resume() { p.gate.open() }

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		pair.close()
	}
}

// Close ends the proxy.
func (p *Proxy) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.ended)
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *pair) close() {
	p.once.Do(func() { close(p.ended) })
	_ = p.client.Close()
	_ = p.server.Close()
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.gate.wait(p.ended)
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.accepted.Add(1)
		both := &pair{client: client, server: server, ended: make(chan struct{})}
		p.mu.Lock()
		if p.closed {
			both.close()
		}
		p.pairs[both] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.pipe(both, server, client, &p.onSend, &p.up) })
		p.wg.Go(func() {
			p.pipe(both, client, server, &p.onReply, &p.down)
			p.mu.Lock()
			delete(p.pairs, both)
			p.mu.Unlock()
		})
	}
}

type delayed struct {
	chunk []byte
	due   time.Time
}

// pipe copies one direction, each chunk delayed by itself, so that the delay bounds no throughput.
func (p *Proxy) pipe(both *pair, to, from net.Conn, filter *atomic.Pointer[Filter], link *link) {
	chunks := make(chan delayed, 4096)
	var writer sync.WaitGroup
	writer.Go(func() { p.deliver(both, to, chunks) })
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer[:link.slice(len(buffer))])
		cut := false
		if f := filter.Load(); n > 0 && f != nil && *f != nil {
			n, cut = (*f)(buffer[:n])
		}
		p.gate.wait(both.ended)
		for rest := buffer[:n]; len(rest) > 0; { // more than a slice when the bandwidth is new
			slice := rest[:link.slice(len(rest))]
			rest = rest[len(slice):]
			link.pass(len(slice), both.ended)
			chunks <- delayed{bytes.Clone(slice), time.Now().Add(p.delay)}
		}
		if err != nil || cut {
			close(chunks)
			writer.Wait()
			if half, ok := to.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) && !cut {
				_ = half.CloseWrite()
				return
			}
			both.close()
			return
		}
	}
}

// deliver writes chunks when they are due.
func (p *Proxy) deliver(both *pair, to net.Conn, chunks <-chan delayed) {
	for c := range chunks {
		pause(time.Until(c.due), both.ended)
		p.gate.wait(both.ended)
		if _, err := to.Write(c.chunk); err != nil {
			both.close()
		}
	}
}
