//go:build unix

package busypoll

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

const supported = true

// poll reads what arrives within PollTime. n is 0 if nothing arrives.
func (c *conn) poll(p []byte) (n int, err error) {
	began := time.Now()
	for polls := 1; ; polls++ {
		n, err := c.tryRead(p)
		if n > 0 || err != nil || time.Since(began) >= PollTime {
			return n, err
		}
		if polls%pollsPerYield == 0 {
			runtime.Gosched()
		}
	}
}

// tryRead reads what has already arrived. n is 0 if nothing has.
func (c *conn) tryRead(p []byte) (n int, err error) {
	var failure error
	err = c.raw.Read(func(fd uintptr) bool {
		n, failure = syscall.Read(int(fd), p)
		return true // do not park
	})
	switch {
	case err != nil: // the socket is closed, or its deadline is over
		return 0, c.readError(err)
	case failure == nil && n == 0:
		return 0, io.EOF
	case failure == nil:
		return n, nil
	case errors.Is(failure, syscall.EAGAIN), errors.Is(failure, syscall.EINTR):
		return 0, nil
	default:
		return 0, c.readError(os.NewSyscallError("read", failure))
	}
}

// readError returns the error that the socket's own Read returns.
func (c *conn) readError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
