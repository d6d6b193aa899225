package stream

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// firstPause and longestPause bound the pause before a watch that failed is opened again.
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
	// longestLine bounds a line that the server sends.
	longestLine = 4 << 10
)

// watch learns from the server when a stream was changed (CLIENT TRACKING), on one connection for
// all streams whose readers wait. A reader asks for one message: the next change of its stream. The
// server sends it once, and then forgets the reader. The message has the stream's name, and no
// entry. XREADGROUP and XACK are no changes; XADD, DEL and FLUSHALL are.
type watch struct {
	client redis.UniversalClient
	told   func(err error)

	running sync.WaitGroup

	mu     sync.Mutex
	conn   *watchConn    // nil: none
	opened chan struct{} // closed when a connection was opened, or could not be; nil: nobody tried
	err    error         // why it could not be
	retry  time.Time     // when it may be opened again
	pause  time.Duration
	spots  map[string][]*spot // that were asked or are armed, by stream
	closed bool
	ctx    context.Context //nolint:containedctx // that of the goroutine, which close ends
	cancel context.CancelFunc
}

// watchConn is one connection of a watch. The lock of the watch guards it.
type watchConn struct {
	private *privateConn
	socket  net.Conn
	timeout time.Duration

	unsent  []byte
	sending bool
	replies []expected // commands without a reply yet
}

// expected is a reply that is to come.
type expected struct {
	spot *spot // nil: of a PING
	sent time.Time
}

func newWatch(client redis.UniversalClient, told func(err error)) *watch {
	w := &watch{client: client, told: told, spots: make(map[string][]*spot)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// turnOff forgets a spot.
func (w *watch) turnOff(s *spot) {
	if s.state == spotOff {
		return
	}
	s.state = spotOff
	list := w.spots[s.key]
	for i, other := range list {
		if other == s {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(w.spots, s.key)
		return
	}
	w.spots[s.key] = list
}

// open opens a connection in a goroutine, unless there is one, or it failed just before.
func (w *watch) open() {
	if w.conn != nil || w.isOpening() || w.closed || time.Now().Before(w.retry) {
		return
	}
	opened := make(chan struct{})
	w.opened = opened
	w.running.Go(func() {
		conn, err := w.dial()
		w.record(conn, err)
		close(opened)
		if err == nil {
			w.listen(conn)
			w.broke(conn)
		}
	})
}

func (w *watch) isOpening() bool {
	select {
	case <-w.opened:
		return false
	default:
		return w.opened != nil
	}
}

// check opens a connection, and returns why the server refuses it. Other failures are left to the
// readers, which ask for it again.
func (w *watch) check(ctx context.Context) error {
	w.mu.Lock()
	w.open()
	opened := w.opened
	w.mu.Unlock()
	select {
	case <-opened:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, refused := errors.AsType[redis.Error](w.err); refused && !IsRetryable(w.err) {
		return w.err
	}
	return nil
}

// dial opens a connection whose pushes are invalidations. HELLO fails where the server does not know
// protocol 3, which go-redis would pass over.
func (w *watch) dial() (*watchConn, error) {
	private := newPrivateConn(w.client, "")
	private.protocol = 3
	stop := context.AfterFunc(w.ctx, private.Close)
	defer stop()
	err := private.onPrivate(w.ctx, 0, func(ctx context.Context, c privateClient) error {
		pipe := c.Pipeline()
		pipe.Do(ctx, "hello", "3")
		pipe.Do(ctx, "client", "tracking", "on")
		_, err := pipe.Exec(ctx)
		return err
	})
	private.mu.Lock()
	socket := private.socket
	private.mu.Unlock()
	if err == nil && socket == nil {
		err = errInterrupted
	}
	if err != nil {
		private.Close()
		return nil, err
	}
	return &watchConn{private: private, socket: socket, timeout: private.timeout}, nil
}

// record records the result of dial, and asks for all that readers wait for.
func (w *watch) record(conn *watchConn, err error) {
	w.mu.Lock()
	before := w.err
	w.err = err
	switch {
	case err != nil:
		w.turnAllOff(false)
	case w.closed:
		_ = conn.socket.Close()
	default:
		w.conn = conn
		for _, spots := range w.spots {
			for _, s := range spots {
				w.send(s)
			}
		}
	}
	tell := (err == nil) != (before == nil) && !w.closed
	w.mu.Unlock()
	if tell {
		w.told(err)
	}
}

// turnAllOff forgets all spots. Their readers look for themselves.
func (w *watch) turnAllOff(wake bool) {
	w.pause = min(max(2*w.pause, firstPause), longestPause)
	w.retry = time.Now().Add(w.pause)
	for _, spots := range w.spots {
		for _, s := range spots {
			s.state = spotOff
			if wake {
				s.wakeUp()
			}
		}
	}
	clear(w.spots)
}

// broke records the end of a connection.
func (w *watch) broke(conn *watchConn) {
	conn.private.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = nil
	w.turnAllOff(true)
}

// send asks the server to tell the next change of a stream (XLEN); nil: to reply (PING). Commands that
// are queued during a write go with the next write.
func (w *watch) send(s *spot) {
	conn := w.conn
	conn.replies = append(conn.replies, expected{spot: s, sent: time.Now()})
	if s == nil {
		conn.unsent = appendCommand(conn.unsent, "PING")
	} else {
		conn.unsent = appendCommand(conn.unsent, "XLEN", s.key)
	}
	if conn.sending {
		return
	}
	conn.sending = true
	w.running.Go(func() { w.write(conn) })
}

func appendCommand(b []byte, words ...string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(words)), 10)
	b = append(b, crlf...)
	for _, word := range words {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(word)), 10)
		b = append(b, crlf...)
		b = append(b, word...)
		b = append(b, crlf...)
	}
	return b
}

// write sends what is to be sent.
func (w *watch) write(conn *watchConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(conn.unsent) > 0 {
		bytes := conn.unsent
		conn.unsent = nil
		w.mu.Unlock()
		_ = conn.socket.SetWriteDeadline(time.Now().Add(conn.timeout))
		_, err := conn.socket.Write(bytes)
		w.mu.Lock()
		if err != nil {
			_ = conn.socket.Close() // listen ends
			break
		}
	}
	conn.sending = false
}

// listen handles what the server sends, until the connection ends. Readers then look for themselves,
// so it does not matter why.
func (w *watch) listen(conn *watchConn) {
	reader := bufio.NewReaderSize(conn.socket, longestLine)
	var sent received
	for {
		_ = conn.socket.SetReadDeadline(time.Now().Add(conn.timeout))
		if _, err := reader.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && w.isAlive(conn) {
				continue
			}
			return
		}
		if sent.read(reader) != nil || !w.handle(conn, &sent) {
			return
		}
	}
}

// isAlive reports whether the server may be silent: it owes no reply for long. If it owes none, a
// PING asks for one.
func (w *watch) isAlive(conn *watchConn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(conn.replies) == 0 {
		w.send(nil)
		return true
	}
	return time.Since(conn.replies[0].sent) < conn.timeout
}

// handle handles what was received. It reports whether it was expected.
func (w *watch) handle(conn *watchConn, got *received) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = 0 // the connection works
	switch {
	case got.push && got.all:
		for _, spots := range w.spots {
			w.changed(spots)
		}
		return true
	case got.push:
		for _, key := range got.keys {
			w.changed(w.spots[key])
		}
		return true
	case len(conn.replies) == 0:
		return false
	}
	s := conn.replies[0].spot
	conn.replies = conn.replies[1:]
	switch {
	case s == nil || s.state != spotAsked:
	case got.failed:
		w.turnOff(s)
		s.refused = time.Now()
	default:
		s.state = spotArmed
		s.wakeUp()
	}
	return true
}

// changed wakes the readers of a stream that the server has told about. It knows them no more.
func (w *watch) changed(spots []*spot) {
	for _, s := range slices.Backward(spots) { // turnOff changes the order behind s
		if s.state == spotArmed {
			w.turnOff(s)
			s.wakeUp()
		}
	}
}

// close ends the watch and its goroutines.
func (w *watch) close() {
	w.cancel()
	w.mu.Lock()
	w.closed = true
	conn := w.conn
	w.mu.Unlock()
	if conn != nil {
		_ = conn.socket.Close()
	}
	w.running.Wait()
}
