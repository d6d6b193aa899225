package stream

import (
	"io"
	"sync/atomic"
)

const (
	// minBuffer is the first size of a capture's buffer. The buffer doubles up to doubleBuffer, and
	// grows by a quarter from then on: what is too much is held as long as the buffer is.
	minBuffer    = 4 << 10
	doubleBuffer = 256 << 10

	nilArray = "*-1\r\n"
)

// emptyReply is what go-redis reads instead of a captured reply: XREAD, XREADGROUP and EVALSHA take
// it.
var emptyReply = []byte("*0\r\n")

// captured is where the captures of a client's connections leave a reply. One goroutine asks for
// it, and reads it from the connection, within go-redis.
type captured struct {
	ready atomic.Bool // the connection has introduced itself
	armed atomic.Bool // the next list or map is to be taken
	taken bool        // it is in reply
	reply []byte
	from  *capture // the last one that left a reply

	// each is called with the list or map in each reply of a pipeline, which is valid only then; nil:
	// there is none.
	each   func(command int, reply []byte)
	number int // of replies that are complete
	of     int
}

// armEach makes each list or map in the replies to a pipeline of n commands be taken.
func (c *captured) armEach(n int, each func(command int, reply []byte)) {
	c.each, c.number, c.of = each, 0, n
	c.arm()
}

// arm makes the next list or map be taken.
func (c *captured) arm() {
	c.taken, c.reply = false, nil
	c.armed.Store(true)
}

// disarm returns what was taken. It is valid until release.
func (c *captured) disarm() (reply []byte, taken bool) {
	c.armed.Store(false)
	c.each = nil
	return c.reply, c.taken
}

// release drops what was taken.
func (c *captured) release() {
	if c.from != nil {
		c.from.shrink(c.taken)
	}
	c.reply = nil
}

// capture takes the entries of a reply out of a connection before go-redis parses it: go-redis
// makes a map of each entry, and allocates by the lengths that a reply claims. go-redis reads an
// empty list instead. It still reads all else by itself: errors, nil, push notifications, the
// handshake.
type capture struct {
	*captured

	conn   io.Reader
	buffer []byte // what was read from the connection and not passed on; reused
	pass   []byte // part of the buffer, or emptyReply: what go-redis reads next
	used   int    // of the buffer
	err    error  // of the connection, once the buffer is used up
	frame  frame
}

// shrink frees the buffer after a read that brought no entries: an idle subscription holds little
// memory. A busy one keeps a buffer of the size of its largest reply. It would otherwise leave one
// as garbage after each reply, which takes more.
func (c *capture) shrink(used bool) {
	if !used {
		c.buffer = append([]byte(nil), c.buffer[c.used:]...)
		c.used = 0
	}
}

// Read is part of io.Reader.
func (c *capture) Read(p []byte) (int, error) {
	armed := c.ready.Load() && c.armed.Load()
	if !armed && len(c.pass) == 0 && c.used == len(c.buffer) {
		return c.conn.Read(p)
	}
	for len(c.pass) == 0 {
		if !armed { // what came with the reply
			c.pass, c.used = c.buffer[c.used:], len(c.buffer)
			break
		}
		complete, err := c.frame.scan(c.buffer[c.used:])
		if err != nil {
			return 0, err
		}
		if complete {
			c.next()
			break
		}
		if err := c.fill(p); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pass)
	if c.pass = c.pass[n:]; len(c.pass) == 0 {
		c.pass = nil // the buffer may be freed
	}
	return n, nil
}

// next takes the reply that is complete, or passes it on.
func (c *capture) next() {
	reply := c.buffer[c.used : c.used+c.frame.pos]
	c.used += len(reply)
	c.frame = frame{}
	if c.each != nil {
		c.pass = c.nextOfSeveral(reply)
		return
	}
	switch reply[0] {
	case '*', '%', '|':
		if string(reply) != nilArray {
			c.armed.Store(false)
			c.taken, c.reply, c.from = true, reply, c
			c.pass = emptyReply
			return
		}
	}
	c.pass = reply
}

// nextOfSeveral is next in a pipeline. It returns what go-redis reads.
func (c *capture) nextOfSeveral(reply []byte) []byte {
	if reply[0] == '>' {
		return reply
	}
	command := c.number
	c.number++
	if c.number == c.of {
		c.armed.Store(false)
	}
	switch reply[0] {
	case '*', '%', '|':
		if string(reply) != nilArray {
			c.taken, c.from = true, c
			c.each(command, reply)
			return emptyReply
		}
	}
	return reply
}

// grown returns the next size of the buffer. needed is what the value that arrives claims to need.
func (c *capture) grown(needed int) int {
	n := len(c.buffer)
	size := n + max(n/4, min(n, doubleBuffer), minBuffer)
	if needed > size {
		return min(needed, max(2*n, minBuffer))
	}
	return size
}

// fill reads more into the buffer, behind what is there. The buffer grows with what came: it never
// more than doubles, whatever length a reply claims. Without a buffer it waits for the first bytes
// with spare, which go-redis lends: an idle subscription needs none.
func (c *capture) fill(spare []byte) error {
	if c.err != nil {
		return c.err
	}
	if c.used > 0 { // what was passed on is not needed any more
		c.buffer = append(c.buffer[:0], c.buffer[c.used:]...)
		c.used = 0
	}
	if cap(c.buffer) == 0 {
		n, err := c.conn.Read(spare)
		size := n
		if n > len(nilArray) { // there are entries, and more may follow
			size = max(n, minBuffer)
		}
		c.buffer = append(make([]byte, 0, size), spare[:n]...)
		return c.came(n, err)
	}
	if len(c.buffer) == cap(c.buffer) {
		size := c.grown(c.frame.pos + c.frame.bulk + minBuffer)
		c.buffer = append(make([]byte, 0, size), c.buffer...)
	}
	n, err := c.conn.Read(c.buffer[len(c.buffer):cap(c.buffer)])
	c.buffer = c.buffer[:len(c.buffer)+n]
	return c.came(n, err)
}

// came keeps the error of a read that brought n bytes until the buffer is used up.
func (c *capture) came(n int, err error) error {
	c.err = err
	if n > 0 {
		return nil
	}
	return err
}
