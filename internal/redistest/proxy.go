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

// Proxy is a TCP proxy in front of a server. Tests delay, watch, throttle, hang and cut its
// connections.
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
	up, down link // to the server, and from it
	gate     gate
	ended    chan struct{}
}

// Filter is called with each chunk of bytes. It returns how many of them to pass on, and whether to
// cut the connection afterwards.
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

// OnSend sets a filter for the bytes that clients send; nil: none.
func (p *Proxy) OnSend(f Filter) { p.onSend.Store(&f) }

// OnReply sets a filter for the bytes that the server sends; nil: none.
func (p *Proxy) OnReply(f Filter) { p.onReply.Store(&f) }

// Accepted returns how many connections were accepted.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Throttle gives each direction a bandwidth that all connections share; 0: no limit. As on a slow
// link, a sender blocks when the socket buffers of the system are full.
func (p *Proxy) Throttle(bytesPerSecond int) {
	p.up.rate.Store(int64(bytesPerSecond))
	p.down.rate.Store(int64(bytesPerSecond))
}

// Carried returns how many bytes were passed on to the server and from it.
func (p *Proxy) Carried() (sent, replied int64) { return p.up.carried.Load(), p.down.carried.Load() }

// Hang stops all traffic until Resume. Connections are still accepted.
func (p *Proxy) Hang() { p.gate.close() }

// Resume ends Hang. Bytes that arrived meanwhile are passed on.
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

// pipe copies one direction. Each chunk is delayed on its own, so that the delay does not limit the
// throughput.
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
		for rest := buffer[:n]; len(rest) > 0; { // Throttle may have been called since
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
